/*
 * Asks each configured broker what it is and what is there, and prints what `skep doctor` shows.
 * Makes and changes nothing, and never while skepd serves: it blocks, so it is a run of its own. To
 * let the running skepd do it was discarded: nothing that is only looked at may stop its loop.
 */
#include "daemon/brokers.h"

#include "transports/amqp/amqp.h"
#include "transports/nats/nats.h"

#include <signal.h>

#define NOTE_MAX 2048

static const char application[] = "skepd " SKEP_VERSION " (check)";

/* What the transports' conditions, which have the same meaning in both, are for people. */
static const char *status_of(int r, int odd)
{
        return r == 0 ? "ok" : r == odd ? "warn" : "fail";
}

static const char *check_amqp(const struct config *c, const struct transport_config *t, char *note,
                              size_t size)
{
        struct amqp_options o = {
            .config = t, .payload_max = c->payload_max, .application = application};
        return status_of(amqp_check(&o, note, size), AMQP_ODD);
}

static const char *check_nats(const struct config *c, const struct transport_config *t, char *note,
                              size_t size)
{
        struct nats_options o = {
            .config = t, .payload_max = c->payload_max, .application = application};
        return status_of(nats_check(&o, note, size), NATS_ODD);
}

static const char *advice_for(const char *status, bool amqp)
{
        if (strcmp(status, "ok") == 0) {
                return "";
        }
        if (strcmp(status, "fail") == 0) {
                return "jobs submitted to skep go on through the ledger; letters wait in the "
                       "broker";
        }
        return amqp ? "see docs/rabbitmq.md" : "see docs/nats.md";
}

/* Broker texts are bytes of others: what would break a line of ours becomes a blank. */
static void put_text(FILE *out, const char *text)
{
        for (; *text; text++) {
                fputc((unsigned char)*text < ' ' || *text == 0x7f ? ' ' : *text, out);
        }
}

void brokers_check(const struct config *c, FILE *out)
{
        signal(SIGPIPE, SIG_IGN);
        for (uint32_t i = 0; i < c->n_transports; i++) {
                const struct transport_config *t = &c->transports[i];
                bool amqp = t->url.n > 4 && memcmp(t->url.p, "amqp", 4) == 0;
                char note[NOTE_MAX] = "out of memory";
                const char *status = amqp ? check_amqp(c, t, note, sizeof note)
                                          : check_nats(c, t, note, sizeof note);
                put_text(out, t->name.p);
                fprintf(out, "\t%s\t", status);
                put_text(out, note);
                fprintf(out, "\t%s\n", advice_for(status, amqp));
        }
}
