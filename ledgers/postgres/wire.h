/*
 * PostgreSQL's binary format: parameters on their way out, cells of results on their way in.
 *
 * Parameters stand one after the other in one buffer that grows and is used again. Memory that runs
 * out is remembered and told once, by params_send().
 */
#ifndef SKEP_LEDGERS_POSTGRES_WIRE_H
#define SKEP_LEDGERS_POSTGRES_WIRE_H

#include "core/arena.h"
#include "core/id.h"

#include <libpq-fe.h>

enum {
        OID_BOOL = 16,
        OID_BYTEA = 17,
        OID_INT8 = 20,
        OID_INT2 = 21,
        OID_INT4 = 23,
        OID_TEXT = 25,
        OID_FLOAT8 = 701,
        OID_UUID = 2950
};

#define PARAMS_MAX 32

struct params {
        char *bytes;
        size_t n, size;
        int count;
        size_t at[PARAMS_MAX];
        int length[PARAMS_MAX]; /* -1: null */
        bool out_of_memory;
        bool inside, in_record;           /* of an array; of a record in it */
        size_t array_start, record_start; /* where their headers are filled in later */
        uint32_t elements;
        uint32_t fields;
        size_t outer_start; /* of the record around the one that is a field of it */
        uint32_t outer_fields;
};

void params_reset(struct params *p);
void params_deinit(struct params *p);

/* A parameter, an element of the array begun last, or a field of its record. */
void put_i16(struct params *p, int16_t v);
void put_i32(struct params *p, int32_t v);
void put_i64(struct params *p, int64_t v);
void put_u64(struct params *p, uint64_t v);
void put_bool(struct params *p, bool v);
void put_f64(struct params *p, double v);
void put_id(struct params *p, const struct job_id *id);
void put_uuid(struct params *p, bool set, const uint8_t bytes[static 16]); /* not set: null */
void put_bytes(struct params *p, struct str v); /* bytea, '' when empty */
void put_blob(struct params *p, struct str v);  /* bytea, null when empty */
void put_text(struct params *p, struct str v);
void put_null(struct params *p, uint32_t oid);

void array_begin(struct params *p, uint32_t oid);
void array_end(struct params *p);
void array_none(struct params *p, uint32_t oid); /* an empty one */
/* All after the first n are empty arrays: they are taken away. */
bool params_cut(struct params *p, int n);
void record_begin(struct params *p);
void record_end(struct params *p);
void nest_begin(struct params *p, uint32_t oid); /* a record as a field of a record */
void nest_end(struct params *p);

/* Sends a prepared statement with these parameters, answers in binary. 0, -ENOMEM, -EIO. */
int params_send(struct params *p, PGconn *c, const char *statement);

bool cell_null(const PGresult *r, int row, int column);
bool cell_bool(const PGresult *r, int row, int column);
int16_t cell_i16(const PGresult *r, int row, int column);
int32_t cell_i32(const PGresult *r, int row, int column); /* 0 when null, like the next */
int64_t cell_i64(const PGresult *r, int row, int column);
double cell_f64(const PGresult *r, int row, int column);
struct job_id cell_id(const PGresult *r, int row, int column);
struct str cell_str(const PGresult *r, int row, int column); /* borrowed; {"", 0} when null */
struct str cell_copy(struct arena *a, const PGresult *r, int row,
                     int column); /* p NULL: no memory */

/* A one-dimensional array without nulls. Element i is at `first` + i * (4 + width), big-endian. */
struct cells {
        const char *first;
        uint32_t n, width;
};
struct cells cell_array(const PGresult *r, int row, int column, uint32_t width);
int64_t cells_int(const struct cells *c, uint32_t i); /* of 4 or 8 bytes */
struct job_id cells_id(const struct cells *c, uint32_t i);

#endif
