/*
 * The public key of an nkey seed. The server asks a client for its public key and for a signature;
 * nats.c makes the second of the seed alone, but wants to be told the first. So that nobody has to
 * configure both, and mix them up, it is derived here.
 *
 * An encoded key is base32 (RFC 4648, without padding) of a prefix, 32 bytes and their CRC-16
 * (XMODEM), low byte first. A seed's prefix is two bytes that also hold the kind of key that it is
 * for: https://docs.nats.io/reference/reference-protocols/nats-protocol, the nkeys project.
 */
#include "transports/nats/settings.h"

#include <nettle/eddsa.h>

#define KEY_BYTES     ED25519_KEY_SIZE
#define PREFIX_SEED   (18 << 3)
#define PREFIX_USER   (20 << 3)
#define SEED_BYTES    (2 + KEY_BYTES + 2)
#define ENCODED_BYTES (1 + KEY_BYTES + 2)

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static uint16_t crc16(const uint8_t *p, size_t n)
{
        uint16_t crc = 0;
        while (n--) {
                crc ^= (uint16_t)(*p++ << 8);
                for (int bit = 0; bit < 8; bit++) {
                        crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
                }
        }
        return crc;
}

/* Exactly n bytes, or false. */
static bool base32_read(struct str text, uint8_t *ret_bytes, size_t n)
{
        uint32_t held = 0, bits = 0;
        size_t done = 0;
        for (uint32_t i = 0; i < text.n; i++) {
                const char *at = text.p[i] ? strchr(alphabet, text.p[i]) : NULL;
                if (!at) {
                        return false;
                }
                held = held << 5 | (uint32_t)(at - alphabet);
                bits += 5;
                if (bits >= 8) {
                        bits -= 8;
                        if (done < n) {
                                ret_bytes[done] = (uint8_t)(held >> bits);
                        }
                        done++;
                }
        }
        return done == n && bits < 5;
}

static void base32_write(const uint8_t *bytes, size_t n, char *ret_text)
{
        uint32_t held = 0, bits = 0;
        for (size_t i = 0; i < n; i++) {
                held = held << 8 | bytes[i];
                for (bits += 8; bits >= 5; bits -= 5) {
                        *ret_text++ = alphabet[held >> (bits - 5) & 31];
                }
        }
        if (bits) {
                *ret_text++ = alphabet[held << (5 - bits) & 31];
        }
        *ret_text = '\0';
}

bool nkey_public(struct str seed, char ret_key[static NKEY_PUBLIC_CHARS + 1])
{
        uint8_t raw[SEED_BYTES] = {0}, key[ENCODED_BYTES];
        bool ok = seed.n == NKEY_SEED_CHARS && base32_read(seed, raw, sizeof raw);
        uint16_t crc = crc16(raw, sizeof raw - 2);
        ok = ok && raw[sizeof raw - 2] == (crc & 0xff) && raw[sizeof raw - 1] == crc >> 8;
        int kind = (raw[0] & 7) << 5 | raw[1] >> 3;
        if (ok && (raw[0] & 0xf8) == PREFIX_SEED && kind == PREFIX_USER) {
                key[0] = PREFIX_USER;
                ed25519_sha512_public_key(key + 1, raw + 2);
                crc = crc16(key, 1 + KEY_BYTES);
                key[1 + KEY_BYTES] = crc & 0xff;
                key[2 + KEY_BYTES] = (uint8_t)(crc >> 8);
                base32_write(key, sizeof key, ret_key);
        } else {
                ok = false;
        }
        explicit_bzero(raw, sizeof raw);
        return ok;
}
