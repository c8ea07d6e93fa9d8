/*
 * Claims are written by hand and signed with fixed keys: the operator's is 32 bytes 1, the
 * account's 32 bytes 2, the system account's 32 bytes 3. Form and names:
 * https://docs.nats.io/running-a-nats-service/nats_admin/security/jwt
 */
#include "tests/unit/nats-jwt.h"

#include "transports/nats/settings.h"

#include <nettle/base64.h>
#include <nettle/eddsa.h>

#include <stdio.h>
#include <stdlib.h>

enum { KIND_OPERATOR = 14 << 3, KIND_ACCOUNT = 0 };

/* --- keys ------------------------------------------------------------------------------------- */

struct key {
        uint8_t seed[ED25519_KEY_SIZE], public[ED25519_KEY_SIZE];
        char text[NKEY_PUBLIC_CHARS + 1];
};

static void encode(int kind, const uint8_t *public, char ret_text[static NKEY_PUBLIC_CHARS + 1])
{
        static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        uint8_t raw[35] = {(uint8_t)kind};
        unsigned crc = 0;
        memcpy(raw + 1, public, ED25519_KEY_SIZE);
        for (int i = 0; i < 33; i++) {
                crc ^= (unsigned)raw[i] << 8;
                for (int bit = 0; bit < 8; bit++) {
                        crc = (crc << 1 ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
                }
        }
        raw[33] = crc & 0xff;
        raw[34] = (uint8_t)(crc >> 8);
        for (int i = 0; i < NKEY_PUBLIC_CHARS; i++) {
                int bit = i * 5, value = 0;
                for (int k = 0; k < 5; k++, bit++) {
                        value = value << 1 | (raw[bit / 8] >> (7 - bit % 8) & 1);
                }
                ret_text[i] = alphabet[value];
        }
        ret_text[NKEY_PUBLIC_CHARS] = '\0';
}

static struct key make_key(int kind, int byte)
{
        struct key k;
        memset(k.seed, byte, sizeof k.seed);
        ed25519_sha512_public_key(k.public, k.seed);
        encode(kind, k.public, k.text);
        return k;
}

/* --- tokens ----------------------------------------------------------------------------------- */

static size_t base64url(const void *bytes, size_t n, char *ret_text)
{
        struct base64_encode_ctx c;
        base64url_encode_init(&c);
        size_t done = base64_encode_update(&c, ret_text, n, bytes);
        done += base64_encode_final(&c, ret_text + done);
        while (done > 0 && ret_text[done - 1] == '=') {
                done--;
        }
        ret_text[done] = '\0';
        return done;
}

/* header.claims.signature */
static void sign(const struct key *by, const char *claims, char ret_jwt[static 2048])
{
        static const char header[] = "{\"typ\":\"JWT\",\"alg\":\"ed25519-nkey\"}";
        uint8_t signature[ED25519_SIGNATURE_SIZE];
        size_t n = base64url(header, strlen(header), ret_jwt);
        ret_jwt[n++] = '.';
        n += base64url(claims, strlen(claims), ret_jwt + n);
        ed25519_sha512_sign(by->public, by->seed, n, (const uint8_t *)ret_jwt, signature);
        ret_jwt[n++] = '.';
        base64url(signature, sizeof signature, ret_jwt + n);
}

static void claim(const struct key *by, const char *subject, const char *nats,
                  char ret_jwt[static 2048])
{
        char claims[1024];
        snprintf(
            claims, sizeof claims,
            "{\"jti\":\"X\",\"iat\":1700000000,\"iss\":\"%s\",\"name\":\"test\",\"sub\":\"%s\","
            "\"nats\":%s}",
            by->text, subject, nats);
        sign(by, claims, ret_jwt);
}

static const char account_claims[] =
    "{\"limits\":{\"subs\":-1,\"data\":-1,\"payload\":-1,\"imports\":-1,\"exports\":-1,"
    "\"wildcards\":true,\"conn\":-1,\"leaf\":-1,\"mem_storage\":-1,\"disk_storage\":-1,"
    "\"streams\":-1,\"consumer\":-1},\"default_permissions\":{\"pub\":{},\"sub\":{}},"
    "\"type\":\"account\",\"version\":2}";
static const char system_claims[] =
    "{\"limits\":{\"subs\":-1,\"data\":-1,\"payload\":-1,\"imports\":-1,\"exports\":-1,"
    "\"wildcards\":true,\"conn\":-1,\"leaf\":-1},\"type\":\"account\",\"version\":2}";

void jwt_server_config(char *ret_config, size_t size)
{
        struct key operator= make_key(KIND_OPERATOR, 1), account = make_key(KIND_ACCOUNT, 2);
        struct key system = make_key(KIND_ACCOUNT, 3);
        char own[2048], others[2048], systems[2048], nats[256];
        snprintf(nats, sizeof nats,
                 "{\"system_account\":\"%s\",\"type\":\"operator\",\"version\":2}", system.text);
        claim(&operator, operator.text, nats, own);
        claim(&operator, account.text, account_claims, others);
        claim(&operator, system.text, system_claims, systems);
        snprintf(ret_config, size,
                 "jetstream { store_dir: \"%%s/js\" }\noperator: %s\nsystem_account: %s\n"
                 "resolver: MEMORY\nresolver_preload: { %s: %s\n %s: %s }\n",
                 own, system.text, account.text, others, system.text, systems);
}

void jwt_credentials(const char *seed, const char *held, char *ret_creds, size_t size)
{
        static const char user[] =
            "{\"pub\":{},\"sub\":{},\"subs\":-1,\"data\":-1,\"payload\":-1,\"type\":\"user\","
            "\"version\":2}";
        struct key account = make_key(KIND_ACCOUNT, 2);
        char jwt[2048], key[NKEY_PUBLIC_CHARS + 1] = "";
        (void)nkey_public(str_of(seed), key);
        claim(&account, key, user, jwt);
        snprintf(ret_creds, size,
                 "-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n\n"
                 "-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n",
                 jwt, held);
}
