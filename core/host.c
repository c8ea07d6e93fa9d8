/*
 * Parses addresses as the resolver does, never by their beginnings.
 */
#include "core/host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <strings.h>

bool host_is_loopback(struct str host)
{
        char text[INET6_ADDRSTRLEN];
        struct in_addr four;
        struct in6_addr six;
        if (host.n == 0 || host.n >= sizeof text || memchr(host.p, 0, host.n)) {
                return false;
        }
        memcpy(text, host.p, host.n);
        text[host.n] = 0;
        if (inet_pton(AF_INET, text, &four) == 1) {
                return ntohl(four.s_addr) >> 24 == 127;
        }
        return strcasecmp(text, "localhost") == 0 ||
               (inet_pton(AF_INET6, text, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six));
}
