/*
 * The bare loop for RabbitMQ and SQLite: what a job costs at least when both are driven by hand in
 * one process. bare/loop.h says how.
 */
#include "bench/bare/loop.h"

int main(int argc, char **argv)
{
        return bare_main(argc, argv, &bare_amqp, &bare_sqlite);
}
