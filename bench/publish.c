/*
 * The producer of the benchmarks: fills a queue with letters and leaves when the
 * broker has confirmed all of them. No program of skep has a part in it.
 *
 *     bench-publish URL declare QUEUE KEY             what a bare loop drains
 *     bench-publish URL fill KEY N [IDS]              as fast as the broker confirms
 *     bench-publish URL pace KEY N RATE [IDS]         at a steady rate
 *     bench-publish URL depth QUEUE                   prints how many messages wait
 *     bench-publish URL purge QUEUE
 *
 * Before URL may stand `--payload BYTES` (256). IDS: each letter's message id is a UUIDv7 as text
 * (uuid), a random one (uuid4), or it has none. With amqp:// a QUEUE is a durable quorum queue and
 * KEY its routing key at the exchange `jobs`; with nats:// they are a stream and a subject. A
 * letter that nobody keeps ends the program.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "bench/kit.h"
#include "bench/publish.h"

#define LETTERS_MAX 100000000
#define RATE_MAX    100000

void window_confirm(struct window *w, uint64_t number)
{
        w->confirmed[number % WINDOW] = true;
        while (w->low < w->sent && w->confirmed[w->low % WINDOW]) {
                w->low++;
        }
}

static void send_letters(struct producer *p, struct window *w, uint64_t n)
{
        for (uint64_t i = 0; i < n; i++) {
                w->confirmed[(w->sent + i) % WINDOW] = false;
        }
        p->ops->send(p, w, n);
}

/* rate 0: as many as the window lets through */
static void publish(struct producer *p, long n, long rate)
{
        static struct window w;
        double begin = monotonic_s();
        while (w.low < (uint64_t)n) {
                uint64_t room = WINDOW - (w.sent - w.low), left = (uint64_t)n - w.sent;
                uint64_t most = rate ? 1 : TOGETHER;
                uint64_t now = left < most ? left : most;
                if (now && rate) {
                        sleep_until(begin + (double)w.sent / (double)rate);
                }
                if (now && now <= room) {
                        send_letters(p, &w, now);
                        p->ops->take(p, &w, false);
                } else {
                        p->ops->take(p, &w, true);
                }
        }
        double seconds = monotonic_s() - begin;
        printf("{\"letters\":%ld,\"seconds\":%.4f,\"rate\":%.1f,\"cpu_per_10k\":%.4f}\n", n,
               seconds, (double)n / seconds, cpu_seconds() * 1e4 / (double)n);
}

/* --- the program ------------------------------------------------------------------------------ */

static enum letter_ids read_ids(const char *word)
{
        static const char *const words[] = {"none", "uuid", "uuid4"};
        for (int i = 0; word && i < 3; i++) {
                if (strcmp(word, words[i]) == 0) {
                        return (enum letter_ids)i;
                }
        }
        if (word) {
                die("%s: ids are uuid, uuid4 or none", word);
        }
        return IDS_UUID;
}

void make_id_text(enum letter_ids ids, char ret_text[37])
{
        uint8_t id[16];
        if (ids == IDS_RANDOM) {
                make_random_uuid(id);
        } else {
                make_uuid(id);
        }
        uuid_text(id, ret_text);
}

static void declare(struct producer *p, char **args)
{
        p->ops->declare(p, args[0], args[1]);
}

static void fill(struct producer *p, char **args)
{
        p->ops->begin(p, args[0], read_ids(args[2]));
        publish(p, number_of(args[1], 1, LETTERS_MAX), 0);
}

static void pace(struct producer *p, char **args)
{
        p->ops->begin(p, args[0], read_ids(args[3]));
        publish(p, number_of(args[1], 1, LETTERS_MAX), number_of(args[2], 1, RATE_MAX));
}

static void print_depth(struct producer *p, char **args)
{
        printf("%ld\n", p->ops->depth(p, args[0]));
}

static void purge(struct producer *p, char **args)
{
        p->ops->purge(p, args[0]);
}

static const struct verb {
        const char *name;
        int args; /* at least */
        void (*run)(struct producer *p, char **args);
} verbs[] = {
    {"declare", 2, declare},   {"fill", 2, fill},   {"pace", 3, pace},
    {"depth", 1, print_depth}, {"purge", 1, purge},
};

int main(int argc, char **argv)
{
        take_payload_size(&argc, &argv);
        for (size_t i = 0; i < sizeof verbs / sizeof *verbs && argc > 3; i++) {
                if (strcmp(argv[2], verbs[i].name) == 0 && argc >= 3 + verbs[i].args) {
                        bool nats = strncmp(argv[1], "nats:", 5) == 0;
                        const struct producer_ops *ops = nats ? &producer_nats : &producer_amqp;
                        struct producer *p = ops->open(argv[1], verbs[i].run == pace);
                        verbs[i].run(p, argv + 3);
                        ops->close(p);
                        return 0;
                }
        }
        fputs(
            "usage: bench-publish URL declare QUEUE KEY | fill KEY N [IDS] | pace KEY N RATE [IDS] "
            "| depth QUEUE | purge QUEUE\n",
            stderr);
        return 64;
}
