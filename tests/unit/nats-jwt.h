/*
 * The smallest set of JWTs that a nats-server trusts: an operator, an account, a user. Made here,
 * so that a credentials file can be tested without the tools of others.
 */
#ifndef SKEP_TESTS_NATS_JWT_H
#define SKEP_TESTS_NATS_JWT_H

#include <stddef.h>

/* Of a server whose operator and one account are this program's; has a word `jetstream`. */
void jwt_server_config(char *ret_config, size_t size);

/* The credentials file of a user of that account with the public key of `seed`, holding `held` as
 * its seed. */
void jwt_credentials(const char *seed, const char *held, char *ret_creds, size_t size);

#endif
