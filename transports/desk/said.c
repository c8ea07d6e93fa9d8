/*
 * Remembered are the last few texts by their hash. A collision swallows a complaint for five
 * minutes, which nobody will ever see.
 */
#include "transports/desk/said.h"

#include "transports/desk/pause.h"

#include <stdio.h>

#define SAY_AGAIN_NS (300 * NS_PER_S)

/* FNV-1a. */
static uint64_t text_hash(const char *text)
{
        uint64_t h = 0xcbf29ce484222325;
        for (; *text; text++) {
                h = (h ^ (unsigned char)*text) * 0x100000001b3;
        }
        return h;
}

static bool was_said(struct said *s, uint64_t what)
{
        int64_t now = clock_ns();
        for (uint32_t i = 0; i < SAID_MAX; i++) {
                if (s->what[i] == what && now - s->when_ns[i] < SAY_AGAIN_NS) {
                        return true;
                }
        }
        s->what[s->next] = what;
        s->when_ns[s->next] = now;
        s->next = (s->next + 1) % SAID_MAX;
        return false;
}

void said_vnote(struct said *s, struct desk *d, int level, const char *fmt, va_list args)
{
        char text[256];
        vsnprintf(text, sizeof text, fmt, args);
        if (!was_said(s, text_hash(text))) {
                desk_note(d, level, "%s", text);
        }
}
