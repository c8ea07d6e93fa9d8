/*
 * Strict base64 in both directions. nettle's decoder was discarded: it skips white space.
 */
#include "http/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct str s, char *ret_text)
{
        const uint8_t *p = (const uint8_t *)s.p;
        for (uint32_t i = 0; i < s.n; i += 3) {
                uint32_t left = s.n - i;
                uint32_t v = (uint32_t)p[i] << 16;
                v |= left > 1 ? (uint32_t)p[i + 1] << 8 : 0;
                v |= left > 2 ? (uint32_t)p[i + 2] : 0;
                *ret_text++ = alphabet[v >> 18];
                *ret_text++ = alphabet[v >> 12 & 63];
                *ret_text++ = left > 1 ? alphabet[v >> 6 & 63] : '=';
                *ret_text++ = left > 2 ? alphabet[v & 63] : '=';
        }
}

static int digit_value(char c)
{
        if (c >= 'A' && c <= 'Z') {
                return c - 'A';
        }
        if (c >= 'a' && c <= 'z') {
                return c - 'a' + 26;
        }
        if (c >= '0' && c <= '9') {
                return c - '0' + 52;
        }
        return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(struct str text, char *ret_bytes, uint32_t *ret_n)
{
        if (text.n % 4 != 0) {
                return false;
        }
        uint32_t pad = 0;
        while (pad < 2 && pad < text.n && text.p[text.n - 1 - pad] == '=') {
                pad++;
        }
        uint32_t digits = text.n - pad, n = 0, v = 0;
        for (uint32_t i = 0; i < digits; i++) {
                int d = digit_value(text.p[i]);
                if (d < 0) {
                        return false;
                }
                v = v << 6 | (uint32_t)d;
                if (i % 4 == 0) {
                        continue;
                }
                ret_bytes[n++] = (char)(v >> (6 - 2 * (i % 4)));
        }
        if ((pad == 1 && (v & 3)) || (pad == 2 && (v & 15))) {
                return false; /* stray bits: another spelling of the same bytes */
        }
        *ret_n = n;
        return true;
}

void base64_to_url(char *text, size_t *n)
{
        while (*n && text[*n - 1] == '=') {
                (*n)--;
        }
        for (size_t i = 0; i < *n; i++) {
                text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
        }
}

bool base64_from_url(struct str text, char *ret_text, size_t room, size_t *ret_n)
{
        size_t n = (text.n + 3u) / 4 * 4;
        if (n > room) {
                return false;
        }
        for (size_t i = 0; i < n; i++) {
                char c = i < text.n ? text.p[i] : '=';
                if (i < text.n && (c == '+' || c == '/' || c == '=')) {
                        return false;
                }
                ret_text[i] = c == '-' ? '+' : c == '_' ? '/' : c;
        }
        *ret_n = n;
        return true;
}
