/*
 * UUIDv7 and keys. Monotonic within a mint: 48 bits of ms, 12 bits of counter (rand_a), 62 random
 * bits.
 */
#include "core/id.h"

#include <nettle/sha2.h>

static uint64_t next_random(struct id_mint *m)
{
        uint64_t x = m->random ? m->random : UINT64_C(0x9e3779b97f4a7c15);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        m->random = x;
        return x * UINT64_C(0x2545f4914f6cdd1d);
}

struct job_id id_mint(struct id_mint *m, int64_t wall_us)
{
        uint64_t ms = wall_us > 0 ? (uint64_t)wall_us / 1000 : 0;
        if (ms > m->last_ms) {
                m->last_ms = ms;
                m->counter = (uint32_t)(next_random(m) >> 54); /* 10 bits: leaves room to count */
        } else if (++m->counter > 0xfff) { /* same ms, or a clock that went back */
                m->last_ms++;
                m->counter = 0;
        }
        struct job_id id;
        uint64_t random = next_random(m);
        for (int i = 0; i < 6; i++) {
                id.b[i] = (uint8_t)(m->last_ms >> (40 - 8 * i));
        }
        id.b[6] = (uint8_t)(0x70 | (m->counter >> 8));
        id.b[7] = (uint8_t)m->counter;
        memcpy(id.b + 8, &random, 8);
        id.b[8] = (uint8_t)((id.b[8] & 0x3f) | 0x80);
        return id;
}

void id_text(const struct job_id *id, char ret_text[static JOB_ID_TEXT])
{
        static const char hex[] = "0123456789abcdef";
        char *p = ret_text;
        for (int i = 0; i < 16; i++) {
                if (i == 4 || i == 6 || i == 8 || i == 10) {
                        *p++ = '-';
                }
                *p++ = hex[id->b[i] >> 4];
                *p++ = hex[id->b[i] & 15];
        }
        *p = 0;
}

/* HEX_DIGIT and a digit's value; 0 for all others. A table, since each letter with an id is parsed.
 */
#define HEX_DIGIT 0x10
static const uint8_t hex_digits[256] = {
    ['0'] = 0x10, ['1'] = 0x11, ['2'] = 0x12, ['3'] = 0x13, ['4'] = 0x14, ['5'] = 0x15,
    ['6'] = 0x16, ['7'] = 0x17, ['8'] = 0x18, ['9'] = 0x19, ['a'] = 0x1a, ['b'] = 0x1b,
    ['c'] = 0x1c, ['d'] = 0x1d, ['e'] = 0x1e, ['f'] = 0x1f, ['A'] = 0x1a, ['B'] = 0x1b,
    ['C'] = 0x1c, ['D'] = 0x1d, ['E'] = 0x1e, ['F'] = 0x1f};

bool id_parse(struct str text, struct job_id *ret_id)
{
        static const uint8_t places[16] = {0,  2,  4,  6,  9,  11, 14, 16,
                                           19, 21, 24, 26, 28, 30, 32, 34};
        struct job_id id;
        uint8_t good = HEX_DIGIT;
        if (text.n != JOB_ID_TEXT - 1) {
                return false;
        }
        const uint8_t *p = (const uint8_t *)text.p;
        for (int i = 0; i < 16; i++) {
                uint8_t high = hex_digits[p[places[i]]], low = hex_digits[p[places[i] + 1]];
                good &= high & low;
                id.b[i] = (uint8_t)(high << 4 | (low & 15));
        }
        if (!good || p[8] != '-' || p[13] != '-' || p[18] != '-' || p[23] != '-') {
                return false;
        }
        *ret_id = id;
        return true;
}

/* Crockford's base 32 as ULID uses it: 26 characters, the first at most 7. */
static bool ulid_parse(struct str text, uint8_t ret_bytes[static 16])
{
        static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        unsigned __int128 value = 0;
        if (text.n != 26 || text.p[0] < '0' || text.p[0] > '7') {
                return false;
        }
        for (uint32_t i = 0; i < 26; i++) {
                char c = text.p[i];
                c = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
                const char *at = c ? strchr(digits, c) : NULL;
                if (!at) {
                        return false;
                }
                value = value << 5 | (unsigned)(at - digits);
        }
        for (int i = 15; i >= 0; i--) {
                ret_bytes[i] = (uint8_t)value;
                value >>= 8;
        }
        return true;
}

struct job_key key_from_text(struct str text)
{
        struct job_key key = {.set = true};
        struct job_id id;
        if (id_parse(text, &id)) {
                memcpy(key.b, id.b, 16);
        } else if (!ulid_parse(text, key.b)) {
                hash16(text, key.b);
        }
        return key;
}

void hash16(struct str bytes, uint8_t ret_hash[static 16])
{
        struct sha256_ctx sha;
        sha256_init(&sha);
        sha256_update(&sha, bytes.n, (const uint8_t *)bytes.p);
        sha256_digest(&sha, 16, ret_hash);
}
