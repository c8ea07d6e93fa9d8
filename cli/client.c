/*
 * HTTP to skepd. See client.h. One easy handle is kept for the program's life, so that pages and
 * polls share a connection.
 */
#include "cli/client.h"

#include "cli/places.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct client {
        CURL *curl;
        char *url;    /* as given */
        char *base;   /* http://localhost, or the URL without a trailing slash */
        char *socket; /* NULL: TCP */
        char *authorization;
        long os_error;
        char failure[CURL_ERROR_SIZE + 64];
};

int64_t clock_ms(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void sleep_ms(int64_t ms)
{
        struct timespec t = {ms / 1000, ms % 1000 * 1000000};
        while (nanosleep(&t, &t) != 0 && errno == EINTR) {}
}

void url_add(struct buf *out, const char *text, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char)text[i];
                bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                             (c >= 'a' && c <= 'z') || (c && strchr("-._~", c));
                if (plain) {
                        buf_add(out, text + i, 1);
                } else {
                        buf_printf(out, "%%%02X", c);
                }
        }
}

/* --- where ------------------------------------------------------------------------------------ */

char *client_default_url(const char *url)
{
        if (!url) {
                url = getenv("SKEP_URL");
        }
        if (url && *url) {
                return text_copy(url);
        }
        CLEANUP(free_text)
        char *socket = place_socket();
        return text_printf("unix:%s", socket);
}

static bool host_is_loopback(const char *base)
{
        char *host = NULL;
        CURLU *u = curl_url();
        bool loopback = false;
        if (u && curl_url_set(u, CURLUPART_URL, base, 0) == CURLUE_OK &&
            curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK) {
                loopback = strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
                           strncmp(host, "127.", 4) == 0;
        }
        curl_free(host);
        curl_url_cleanup(u);
        return loopback;
}

static int take_url(struct client *c)
{
        const char *url = c->url;
        if (strncmp(url, "unix:", 5) == 0) {
                const char *path = url + 5;
                if (strncmp(path, "//", 2) == 0) {
                        path += 2;
                }
                if (path[0] != '/') {
                        say("%s: the socket's path must be absolute: unix:/run/skep/skep.sock",
                            url);
                        return EXIT_USAGE;
                }
                if (strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path) {
                        say("%s: a socket's path has at most %zu bytes", url,
                            sizeof((struct sockaddr_un *)0)->sun_path - 1);
                        return EXIT_USAGE;
                }
                c->socket = text_copy(path);
                c->base = text_copy("http://localhost");
                return 0;
        }
        if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) {
                say("%s: not a server's URL; it is unix:/path/of/socket or http://host:port", url);
                return EXIT_USAGE;
        }
        c->base = text_copy(url);
        for (size_t n = strlen(c->base); n > 0 && c->base[n - 1] == '/'; n--) {
                c->base[n - 1] = 0;
        }
        return 0;
}

/* The first line that is neither empty nor a comment. */
static int take_token(struct client *c, const char *file)
{
        FILE *f = fopen(file, "re");
        if (!f) {
                say("token file %s: %s", file, strerror(errno));
                return EXIT_NO_INPUT;
        }
        char line[4096];
        size_t n = 0;
        while (n == 0 && fgets(line, sizeof line, f)) {
                n = line[0] == '#' ? 0 : strcspn(line, " \t\r\n");
        }
        fclose(f);
        if (n == 0 || n + 1 >= sizeof line) {
                say("token file %s: no line with a token", file);
                return EXIT_NO_INPUT;
        }
        for (size_t i = 0; i < n; i++) {
                if (line[i] < 0x21 || line[i] > 0x7e) {
                        say("token file %s: the token has a byte that is not printable ASCII",
                            file);
                        return EXIT_NO_INPUT;
                }
        }
        c->authorization = text_printf("Authorization: Bearer %.*s", (int)n, line);
        if (strncmp(c->base, "http://", 7) == 0 && !c->socket && !host_is_loopback(c->base)) {
                say("%s: a token is not sent in clear over the network; use https://", c->url);
                return EXIT_USAGE;
        }
        return 0;
}

struct client *client_free(struct client *c)
{
        if (c) {
                curl_easy_cleanup(c->curl);
                free(c->url);
                free(c->base);
                free(c->socket);
                free(c->authorization);
                free(c);
        }
        return NULL;
}

void client_cleanup(struct client **c)
{
        *c = client_free(*c);
}

int client_new(const char *url, const char *token_file, struct client **ret)
{
        CLEANUP(client_cleanup)
        struct client *c = text_alloc(sizeof *c);
        c->url = client_default_url(url);
        int r = take_url(c);
        if (r == 0 && token_file) {
                r = take_token(c, token_file);
        }
        if (r) {
                return r;
        }
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(c->curl = curl_easy_init())) {
                say("libcurl cannot start");
                return EXIT_SYSTEM;
        }
        *ret = STEAL(c);
        return 0;
}

int client_open(const struct invocation *in, struct client **ret)
{
        const char *token_file = invocation_get(in, "token-file");
        if (!token_file) {
                token_file = getenv("SKEP_TOKEN_FILE");
        }
        return client_new(invocation_get(in, "url"), token_file && *token_file ? token_file : NULL,
                          ret);
}

const char *client_url(const struct client *c)
{
        return c->url;
}

const char *client_failure(const struct client *c)
{
        return c->failure;
}

/* --- an answer -------------------------------------------------------------------------------- */

void response_deinit(struct response *r)
{
        buf_deinit(&r->body);
        free(r->next);
        *r = (struct response){0};
}

static size_t keep_body(char *p, size_t size, size_t n, void *ctx)
{
        struct response *r = ctx;
        if (r->body.n + size * n > RESPONSE_MAX) {
                return 0;
        }
        buf_add(&r->body, p, size * n);
        return size * n;
}

/* Link: <https://any.where/v1/jobs?cursor=X>; rel="next": only its path and query are used. */
static void keep_link(struct response *r, const char *p, size_t n)
{
        CLEANUP(free_text)
        char *line = text_printf("%.*s", (int)n, p);
        for (char *open = strchr(line, '<'); open; open = strchr(open + 1, '<')) {
                char *close = strchr(open, '>');
                if (!close) {
                        return;
                }
                size_t rest = strcspn(close, ",<");
                *close = 0;
                CLEANUP(free_text)
                char *params = text_printf("%.*s", (int)rest - 1, close + 1);
                if (!strstr(params, "rel=\"next\"") && !strstr(params, "rel=next")) {
                        *close = '>';
                        continue;
                }
                char *path = strstr(open + 1, "://");
                path = path ? strchr(path + 3, '/') : open + 1;
                free(r->next);
                r->next = path && *path == '/' ? text_copy(path) : NULL;
                return;
        }
}

static bool header_value(const char *p, size_t n, const char *name, const char **ret_value,
                         size_t *ret_n)
{
        size_t k = strlen(name);
        if (n <= k || strncasecmp(p, name, k) != 0 || p[k] != ':') {
                return false;
        }
        for (k++; k < n && (p[k] == ' ' || p[k] == '\t'); k++) {}
        while (n > k && (p[n - 1] == '\r' || p[n - 1] == '\n' || p[n - 1] == ' ')) {
                n--;
        }
        *ret_value = p + k;
        *ret_n = n - k;
        return true;
}

static size_t keep_header(char *p, size_t size, size_t n, void *ctx)
{
        struct response *r = ctx;
        const char *value;
        size_t value_n;
        if (header_value(p, size * n, "link", &value, &value_n)) {
                keep_link(r, value, value_n);
        } else if (header_value(p, size * n, "retry-after", &value, &value_n)) {
                r->retry_after_s = 0;
                for (size_t i = 0; i < value_n && value[i] >= '0' && value[i] <= '9' && i < 6;
                     i++) {
                        r->retry_after_s = r->retry_after_s * 10 + (uint32_t)(value[i] - '0');
                }
        } else if (header_value(p, size * n, "content-type", &value, &value_n)) {
                CLEANUP(free_text)
                char *type = text_printf("%.*s", (int)value_n, value);
                r->json = strstr(type, "json") != NULL;
        }
        return size * n;
}

/* --- a call ----------------------------------------------------------------------------------- */

static struct curl_slist *make_headers(const struct client *c, const struct request *rq)
{
        struct curl_slist *list =
            curl_slist_append(NULL, "Expect:"); /* no round trip before a body */
        if (c->authorization) {
                list = curl_slist_append(list, c->authorization);
        }
        if (rq->content_type) {
                CLEANUP(free_text)
                char *line = text_printf("Content-Type: %s", rq->content_type);
                list = curl_slist_append(list, line);
        } else if (rq->method) {
                list = curl_slist_append(list, "Content-Type:");
        }
        if (rq->wait_s > 0) {
                CLEANUP(free_text)
                char *line = text_printf("Prefer: wait=%u", rq->wait_s);
                list = curl_slist_append(list, line);
        }
        return list;
}

static void set_request(CURL *h, const struct request *rq)
{
        if (!rq->method || strcmp(rq->method, "GET") == 0) {
                curl_easy_setopt(h, CURLOPT_HTTPGET, 1L);
                return;
        }
        bool post = strcmp(rq->method, "POST") == 0;
        if (post || rq->body) {
                curl_easy_setopt(h, CURLOPT_POST, 1L);
                curl_easy_setopt(h, CURLOPT_POSTFIELDS, rq->body ? rq->body : "");
                curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->body_n);
        } else {
                curl_easy_setopt(h, CURLOPT_HTTPGET, 1L);
        }
        curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, post ? NULL : rq->method);
}

static int judge(const struct client *c, CURLcode code)
{
        long sent = 0;
        switch (code) {
        case CURLE_OK: return 0;
        case CURLE_COULDNT_CONNECT:
        case CURLE_COULDNT_RESOLVE_HOST: return CALL_UNREACHABLE;
        case CURLE_OPERATION_TIMEDOUT:
                curl_easy_getinfo(c->curl, CURLINFO_REQUEST_SIZE, &sent);
                return sent > 0 ? CALL_CUT : CALL_UNREACHABLE;
        case CURLE_URL_MALFORMAT:
        case CURLE_UNSUPPORTED_PROTOCOL:
        case CURLE_WRITE_ERROR:
        case CURLE_WEIRD_SERVER_REPLY:
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_SSL_CACERT_BADFILE: return CALL_BROKEN;
        default: return CALL_CUT;
        }
}

int client_call(struct client *c, const struct request *rq, struct response *ret)
{
        CURL *h = c->curl;
        CLEANUP(free_text)
        char *url = text_printf("%s%s", c->base, rq->path);
        char error[CURL_ERROR_SIZE] = "";
        response_deinit(ret);
        curl_easy_reset(h);
        curl_easy_setopt(h, CURLOPT_URL, url);
        curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(h, CURLOPT_PROXY, "");
        curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(h, CURLOPT_USERAGENT, "skep/" SKEP_VERSION);
        curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
        curl_easy_setopt(h, CURLOPT_TIMEOUT_MS,
                         (long)(rq->timeout_ms ? rq->timeout_ms : CLIENT_TIMEOUT_MS) +
                             (long)rq->wait_s * 1000);
        curl_easy_setopt(h, CURLOPT_ERRORBUFFER, error);
        curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, keep_body);
        curl_easy_setopt(h, CURLOPT_WRITEDATA, ret);
        curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, keep_header);
        curl_easy_setopt(h, CURLOPT_HEADERDATA, ret);
        if (c->socket) {
                curl_easy_setopt(h, CURLOPT_UNIX_SOCKET_PATH, c->socket);
        }
        set_request(h, rq);
        struct curl_slist *headers = make_headers(c, rq);
        curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);

        CURLcode code = curl_easy_perform(h);
        int r = judge(c, code);
        curl_slist_free_all(headers);
        c->os_error = 0;
        c->failure[0] = 0;
        curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &ret->status);
        if (r) {
                curl_easy_getinfo(h, CURLINFO_OS_ERRNO, &c->os_error);
                snprintf(c->failure, sizeof c->failure, "%s",
                         error[0] ? error : curl_easy_strerror(code));
                ret->status = 0;
        }
        return r;
}

static bool is_unsettled(int failure, long status)
{
        return failure == CALL_CUT || failure == CALL_UNREACHABLE ||
               (failure == 0 && (status == 429 || status == 503));
}

int client_insist(struct client *c, const struct request *rq, uint32_t patience_ms, bool stubborn,
                  struct response *ret)
{
        int64_t give_up = clock_ms() + patience_ms;
        int64_t pause_ms = 100;
        bool met = stubborn, doubtful = false;
        for (uint32_t tries = 1;; tries++) {
                int r = client_call(c, rq, ret);
                met = met || r != CALL_UNREACHABLE;
                doubtful = doubtful || r == CALL_CUT;
                ret->tries = tries;
                ret->doubtful = doubtful;
                if (!is_unsettled(r, ret->status) || !met) {
                        return r;
                }
                int64_t now = clock_ms();
                int64_t wait_ms = pause_ms + (now ^ getpid()) % (pause_ms / 4 + 1);
                if (ret->retry_after_s > 0) {
                        wait_ms = (int64_t)ret->retry_after_s * 1000;
                }
                if (now + wait_ms >= give_up) {
                        return r;
                }
                sleep_ms(wait_ms);
                pause_ms = pause_ms * 2 < 5000 ? pause_ms * 2 : 5000;
        }
}
