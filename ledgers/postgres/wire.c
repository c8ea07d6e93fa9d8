/*
 * Bytes in and out. Nothing here knows what they mean.
 */
#include "ledgers/postgres/wire.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>

/* --- out -------------------------------------------------------------------------------------- */

void params_reset(struct params *p)
{
        p->n = 0;
        p->count = 0;
        p->out_of_memory = p->inside = p->in_record = false;
}

void params_deinit(struct params *p)
{
        free(p->bytes);
        *p = (struct params){0};
}

static char *take(struct params *p, size_t n)
{
        if (p->size - p->n < n) {
                size_t size = p->size ? p->size : 1024;
                while (size - p->n < n) {
                        size *= 2;
                }
                char *bytes = size <= INT32_MAX ? realloc(p->bytes, size) : NULL;
                if (!bytes) {
                        p->out_of_memory = true;
                        return NULL;
                }
                p->bytes = bytes;
                p->size = size;
        }
        p->n += n;
        return p->bytes + p->n - n;
}

static void take_i32(struct params *p, int32_t v)
{
        char *to = take(p, 4);
        uint32_t wire = htobe32((uint32_t)v);
        if (to) {
                memcpy(to, &wire, 4);
        }
}

static void patch_i32(struct params *p, size_t at, int32_t v)
{
        uint32_t wire = htobe32((uint32_t)v);
        if (!p->out_of_memory) {
                memcpy(p->bytes + at, &wire, 4);
        }
}

static void begin_param(struct params *p)
{
        if (p->count == PARAMS_MAX) {
                p->out_of_memory = true; /* no statement has so many */
                p->count = 0;
        }
        p->at[p->count] = p->n;
}

/* Room for one value of so many bytes, its header before it. n < 0: null. */
static char *begin_value(struct params *p, uint32_t oid, int n)
{
        if (!p->inside) {
                begin_param(p);
                p->length[p->count++] = n;
        } else {
                if (p->in_record) {
                        take_i32(p, (int32_t)oid);
                        p->fields++;
                } else {
                        p->elements++;
                }
                take_i32(p, n);
        }
        return n < 0 ? NULL : take(p, (size_t)n);
}

static void put(struct params *p, uint32_t oid, const void *v, uint32_t n)
{
        char *to = begin_value(p, oid, (int)n);
        if (to && n) {
                memcpy(to, v, n);
        }
}

void put_i16(struct params *p, int16_t v)
{
        uint16_t wire = htobe16((uint16_t)v);
        put(p, OID_INT2, &wire, sizeof wire);
}

void put_i32(struct params *p, int32_t v)
{
        uint32_t wire = htobe32((uint32_t)v);
        put(p, OID_INT4, &wire, sizeof wire);
}

void put_i64(struct params *p, int64_t v)
{
        put_u64(p, (uint64_t)v);
}

void put_u64(struct params *p, uint64_t v)
{
        uint64_t wire = htobe64(v);
        put(p, OID_INT8, &wire, sizeof wire);
}

void put_bool(struct params *p, bool v)
{
        put(p, OID_BOOL, v ? "\1" : "\0", 1);
}

void put_f64(struct params *p, double v)
{
        uint64_t bits;
        memcpy(&bits, &v, sizeof bits);
        uint64_t wire = htobe64(bits);
        put(p, OID_FLOAT8, &wire, sizeof wire);
}

void put_id(struct params *p, const struct job_id *id)
{
        put(p, OID_UUID, id->b, sizeof id->b);
}

void put_uuid(struct params *p, bool set, const uint8_t bytes[static 16])
{
        if (set) {
                put(p, OID_UUID, bytes, 16);
        } else {
                put_null(p, OID_UUID);
        }
}

void put_bytes(struct params *p, struct str v)
{
        put(p, OID_BYTEA, v.p, v.n);
}

void put_blob(struct params *p, struct str v)
{
        if (v.n) {
                put(p, OID_BYTEA, v.p, v.n);
        } else {
                put_null(p, OID_BYTEA);
        }
}

void put_text(struct params *p, struct str v)
{
        put(p, OID_TEXT, v.p, v.n);
}

void put_null(struct params *p, uint32_t oid)
{
        (void)begin_value(p, oid, -1);
}

/* dimensions, has nulls, element type, then (how many, first index) of each dimension */
#define ARRAY_EMPTY 12 /* bytes */

void array_begin(struct params *p, uint32_t oid)
{
        begin_param(p);
        p->array_start = p->n;
        p->elements = 0;
        p->inside = true;
        take_i32(p, 1);
        take_i32(p, 1);
        take_i32(p, (int32_t)oid);
        take_i32(p, 0);
        take_i32(p, 1);
}

void array_end(struct params *p)
{
        p->inside = false;
        patch_i32(p, p->array_start + ARRAY_EMPTY, (int32_t)p->elements);
        if (!p->elements) { /* an empty array has no dimension */
                patch_i32(p, p->array_start, 0);
                p->n = p->array_start + ARRAY_EMPTY;
        }
        p->length[p->count++] = (int)(p->n - p->array_start);
}

void array_none(struct params *p, uint32_t oid)
{
        array_begin(p, oid);
        array_end(p);
}

bool params_cut(struct params *p, int n)
{
        for (int i = n; i < p->count; i++) {
                if (p->length[i] != ARRAY_EMPTY) {
                        return false;
                }
        }
        if (n < p->count) {
                p->n = p->at[n];
                p->count = n;
        }
        return true;
}

void record_begin(struct params *p)
{
        p->elements++;
        p->record_start = p->n;
        p->fields = 0;
        p->in_record = true;
        take_i32(p, 0); /* bytes */
        take_i32(p, 0); /* fields */
}

void record_end(struct params *p)
{
        p->in_record = false;
        patch_i32(p, p->record_start, (int32_t)(p->n - p->record_start - 4));
        patch_i32(p, p->record_start + 4, (int32_t)p->fields);
}

void nest_begin(struct params *p, uint32_t oid)
{
        take_i32(p, (int32_t)oid);
        p->outer_start = p->record_start;
        p->outer_fields = p->fields + 1;
        p->record_start = p->n;
        p->fields = 0;
        take_i32(p, 0);
        take_i32(p, 0);
}

void nest_end(struct params *p)
{
        record_end(p);
        p->in_record = true;
        p->record_start = p->outer_start;
        p->fields = p->outer_fields;
}

int params_send(struct params *p, PGconn *c, const char *statement)
{
        const char *values[PARAMS_MAX];
        int formats[PARAMS_MAX];
        if (p->out_of_memory) {
                return -ENOMEM;
        }
        for (int i = 0; i < p->count; i++) {
                values[i] = p->length[i] < 0 ? NULL : p->bytes + p->at[i];
                formats[i] = 1;
        }
        /* An empty parameter may point to nowhere, and null pointers mean null. */
        for (int i = 0; i < p->count; i++) {
                values[i] = p->length[i] == 0 ? "" : values[i];
        }
        return PQsendQueryPrepared(c, statement, p->count, values, p->length, formats, 1) ? 0
                                                                                          : -EIO;
}

/* --- in --------------------------------------------------------------------------------------- */

bool cell_null(const PGresult *r, int row, int column)
{
        return PQgetisnull(r, row, column);
}

bool cell_bool(const PGresult *r, int row, int column)
{
        return !cell_null(r, row, column) && PQgetvalue(r, row, column)[0] != 0;
}

int16_t cell_i16(const PGresult *r, int row, int column)
{
        uint16_t wire = 0;
        if (PQgetlength(r, row, column) == 2) {
                memcpy(&wire, PQgetvalue(r, row, column), 2);
        }
        return (int16_t)be16toh(wire);
}

int32_t cell_i32(const PGresult *r, int row, int column)
{
        uint32_t wire = 0;
        if (PQgetlength(r, row, column) == 4) {
                memcpy(&wire, PQgetvalue(r, row, column), 4);
        }
        return (int32_t)be32toh(wire);
}

int64_t cell_i64(const PGresult *r, int row, int column)
{
        uint64_t wire = 0;
        if (PQgetlength(r, row, column) == 8) {
                memcpy(&wire, PQgetvalue(r, row, column), 8);
        }
        return (int64_t)be64toh(wire);
}

double cell_f64(const PGresult *r, int row, int column)
{
        int64_t bits = cell_i64(r, row, column);
        double v;
        memcpy(&v, &bits, sizeof v);
        return v;
}

struct job_id cell_id(const PGresult *r, int row, int column)
{
        struct job_id id = {{0}};
        if (PQgetlength(r, row, column) == sizeof id.b) {
                memcpy(id.b, PQgetvalue(r, row, column), sizeof id.b);
        }
        return id;
}

struct str cell_str(const PGresult *r, int row, int column)
{
        int n = PQgetlength(r, row, column);
        return n > 0 ? (struct str){PQgetvalue(r, row, column), (uint32_t)n} : (struct str){"", 0};
}

struct str cell_copy(struct arena *a, const PGresult *r, int row, int column)
{
        struct str v = cell_str(r, row, column);
        return v.n ? arena_str(a, v) : v;
}

static uint32_t read_u32(const char *p)
{
        uint32_t wire;
        memcpy(&wire, p, 4);
        return be32toh(wire);
}

struct cells cell_array(const PGresult *r, int row, int column, uint32_t width)
{
        struct str v = cell_str(r, row, column);
        if (v.n < 20 || read_u32(v.p) != 1) {
                return (struct cells){0};
        }
        uint32_t n = read_u32(v.p + 12);
        bool whole = v.n == 20 + (uint64_t)n * (4 + width);
        return whole ? (struct cells){v.p + 20 + 4, n, width} : (struct cells){0};
}

int64_t cells_int(const struct cells *c, uint32_t i)
{
        const char *at = c->first + (size_t)i * (4 + c->width);
        uint64_t wire = 0;
        if (c->width == 4) {
                return (int32_t)read_u32(at);
        }
        memcpy(&wire, at, sizeof wire);
        return (int64_t)be64toh(wire);
}

struct job_id cells_id(const struct cells *c, uint32_t i)
{
        struct job_id id;
        memcpy(id.b, c->first + (size_t)i * (4 + c->width), sizeof id.b);
        return id;
}
