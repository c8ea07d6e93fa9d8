/*
 * What a unique key is hashed of. Each text goes in with its length before it, so that "ab" + "c"
 * and "a" + "bc" are two keys. The queue is hashed apart and laid over the rest, since a row may
 * get its queue after its key: a letter that is routed anew, a child that names none.
 */
#include "core/unique.h"

#include <nettle/sha2.h>

#include "core/id.h"

static void add_text(struct sha256_ctx *sha, struct str s)
{
        uint8_t n[4] = {(uint8_t)(s.n >> 24), (uint8_t)(s.n >> 16), (uint8_t)(s.n >> 8),
                        (uint8_t)s.n};
        sha256_update(sha, sizeof n, n);
        sha256_update(sha, s.n, (const uint8_t *)(s.p ? s.p : ""));
}

static void lay_queue(uint8_t hash[static 16], struct str queue)
{
        struct sha256_ctx sha;
        uint8_t of_queue[16];
        sha256_init(&sha);
        add_text(&sha, STR("queue"));
        add_text(&sha, queue);
        sha256_digest(&sha, sizeof of_queue, of_queue);
        for (int i = 0; i < 16; i++) {
                hash[i] ^= of_queue[i];
        }
}

void unique_key_of(const struct unique_wish *wish, struct str type, struct str queue,
                   struct str payload, struct unique_key *ret)
{
        uint8_t scope = wish->scope ? wish->scope : SCOPE_DEFAULT;
        struct sha256_ctx sha;
        *ret = (struct unique_key){
            .set = true,
            .of_queue = scope & SCOPE_QUEUE,
            .states = wish->states ? wish->states : UNIQUE_STATES_DEFAULT,
            .replace = wish->conflict == UNIQUE_REPLACE,
            .for_us = wish->for_ms * 1000,
        };
        sha256_init(&sha);
        sha256_update(&sha, 1, &scope);
        add_text(&sha, wish->key);
        if (scope & SCOPE_TYPE) {
                add_text(&sha, type);
        }
        if (scope & SCOPE_PAYLOAD) {
                add_text(&sha, payload);
        }
        sha256_digest(&sha, sizeof ret->hash, ret->hash);
        if (ret->of_queue) {
                lay_queue(ret->hash, queue);
        }
}

void unique_key_move(struct unique_key *key, struct str from, struct str to)
{
        if (key->set && key->of_queue) {
                lay_queue(key->hash, from);
                lay_queue(key->hash, to);
        }
}

/* --- texts ------------------------------------------------------------------------------------ */

/* The next part of a comma list without blanks around it. */
static struct str next_part(struct str *rest)
{
        const char *comma = memchr(rest->p, ',', rest->n);
        struct str part = {rest->p, comma ? (uint32_t)(comma - rest->p) : rest->n};
        uint32_t past = part.n + (comma != NULL);
        *rest = (struct str){rest->p + past, rest->n - past};
        while (part.n && part.p[0] == ' ') {
                part = (struct str){part.p + 1, part.n - 1};
        }
        while (part.n && part.p[part.n - 1] == ' ') {
                part.n--;
        }
        return part;
}

bool unique_scope_parse(struct str text, uint8_t *ret_scope)
{
        uint8_t scope = 0;
        while (text.n) {
                struct str part = next_part(&text);
                if (str_eq(part, STR("type"))) {
                        scope |= SCOPE_TYPE;
                } else if (str_eq(part, STR("queue"))) {
                        scope |= SCOPE_QUEUE;
                } else if (str_eq(part, STR("payload"))) {
                        scope |= SCOPE_PAYLOAD;
                } else {
                        return false;
                }
        }
        if (scope == 0) {
                return false;
        }
        *ret_scope = scope;
        return true;
}

bool unique_states_parse(struct str text, uint8_t *ret_states)
{
        uint8_t states = 0;
        enum job_state state;
        if (str_eq(text, STR("incomplete"))) {
                states = UNIQUE_STATES_DEFAULT;
                text.n = 0;
        } else if (str_eq(text, STR("all"))) {
                states = (1u << JOB_STATE_COUNT) - 1;
                text.n = 0;
        }
        while (text.n) {
                if (!state_parse(next_part(&text), &state)) {
                        return false;
                }
                states |= (uint8_t)(1u << state);
        }
        if (states == 0) {
                return false;
        }
        *ret_states = states;
        return true;
}

bool unique_conflict_parse(struct str text, enum unique_conflict *ret)
{
        bool keep = str_eq(text, STR("keep")), replace = str_eq(text, STR("replace"));
        if (keep || replace) {
                *ret = replace ? UNIQUE_REPLACE : UNIQUE_KEEP;
        }
        return keep || replace;
}
