/*
 * For `skep doctor`: connects like the transport would, and looks at what is there. Makes nothing:
 * what is missing will be made by the node itself.
 *
 * Whether a server syncs before it confirms (sync_interval: always) is in its own configuration
 * file and told to no client, so that only the version can be judged.
 */
#include "transports/nats/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define LIMIT_MS  6000 /* for all servers of the URL together */
#define ANSWER_MS 1500

struct check {
        const struct settings *s;
        natsConnection *nc;
        jsCtx *js;
        struct findings found;
};

static void options_destroy(natsOptions **o)
{
        natsOptions_Destroy(*o);
}

static void stream_info_destroy(jsStreamInfo **i)
{
        jsStreamInfo_Destroy(*i);
}

static void account_info_destroy(jsAccountInfo **i)
{
        jsAccountInfo_Destroy(*i);
}

static void consumers_destroy(jsConsumerInfoList **l)
{
        jsConsumerInfoList_Destroy(*l);
}

/* --- the server ------------------------------------------------------------------------------- */

static void judge_version(struct check *k)
{
        char url[300] = "", version[40];
        int major = 0, minor = 0;
        (void)natsConnection_GetConnectedUrl(k->nc, url, sizeof url);
        server_version(url, version, sizeof version);
        find_good(&k->found, "%s: NATS %s", k->s->place,
                  *version ? version : "of a version that it does not tell");
        if (sscanf(version, "%d.%d", &major, &minor) == 2 &&
            (major < 2 || (major == 2 && minor < 10))) {
                find_odd(&k->found,
                         "not power-safe: JetStream before 2.10 confirms messages before they are "
                         "on disk, up to two minutes of them can be gone after a power cut. What "
                         "was submitted through skep comes back (outbox and tide); messages of "
                         "other producers do not");
        } else {
                find_good(&k->found,
                          "power-safe only with `sync_interval: always` in the server's "
                          "configuration, which no client can see: without it up to two minutes of "
                          "other producers' messages can be gone after a power cut, and what was "
                          "submitted through skep comes back (outbox and tide)");
        }
}

/* Of the files with secrets, those that anybody may read. */
static void judge_files(struct check *k)
{
        const struct {
                const char *name, *path;
        } files[] = {{"password_file", k->s->password_file},
                     {"token_file", k->s->token_file},
                     {"creds_file", k->s->creds_file},
                     {"nkey_file", k->s->nkey_file},
                     {"key_file", k->s->key_file}};
        struct stat st;
        for (size_t i = 0; i < ARRAY_LEN(files); i++) {
                if (files[i].path && stat(files[i].path, &st) == 0 && (st.st_mode & S_IROTH)) {
                        find_odd(&k->found, "%s %s can be read by everybody (mode %04o)",
                                 files[i].name, files[i].path, (unsigned)(st.st_mode & 07777));
                }
        }
}

/* --- JetStream -------------------------------------------------------------------------------- */

static bool has_jetstream(struct check *k)
{
        jsAccountInfo *info CLEANUP(account_info_destroy)
        = NULL;
        jsErrCode code = 0;
        natsStatus status = js_GetAccountInfo(&info, k->js, NULL, &code);
        if (status == NATS_OK) {
                return true;
        }
        if (status == NATS_TIMEOUT) {
                find_odd(&k->found,
                         "no answer from JetStream within %d ms: is this user allowed "
                         "$JS.API.> and its inbox, and has the cluster a leader?",
                         ANSWER_MS);
        } else if (code == JSNotEnabledForAccountErr) {
                find_odd(&k->found, "no JetStream for this account; skepd needs it");
        } else {
                find_odd(&k->found,
                         "no JetStream (%s); skepd needs it: jetstream {} in the "
                         "server's configuration",
                         natsStatus_GetText(status));
        }
        return false;
}

static void look_at_stream(struct check *k)
{
        jsStreamInfo *info CLEANUP(stream_info_destroy)
        = NULL;
        jsConsumerInfoList *list CLEANUP(consumers_destroy)
        = NULL;
        jsOptions options;
        jsErrCode code = 0;
        char filter[128];
        jsOptions_Init(&options);
        snprintf(filter, sizeof filter, "%s.>", k->s->subject);
        options.Stream.Info.SubjectsFilter = filter;
        natsStatus status = js_GetStreamInfo(&info, k->js, k->s->stream, &options, &code);
        if (status == NATS_NOT_FOUND || code == JSStreamNotFoundErr) {
                if (k->s->create) {
                        find_good(&k->found, "stream %s is not there yet, skepd makes it",
                                  k->s->stream);
                } else {
                        find_odd(&k->found, "stream %s is not there, and create is no",
                                 k->s->stream);
                }
                return;
        }
        /* without configuration: a stream on so many subjects that it takes requests to the server
         * too has answered in its place */
        if (status != NATS_OK || !info->Config) {
                find_odd(&k->found, "stream %s cannot be looked at: %s", k->s->stream,
                         status == NATS_OK ? "not an answer of JetStream"
                                           : natsStatus_GetText(status));
                return;
        }
        if (judge_stream(&k->found, k->s, info->Config) &&
            js_Consumers(&list, k->js, k->s->stream, NULL, NULL) != NATS_TIMEOUT) {
                judge_subjects(&k->found, &info->State, list);
        }
}

static int look(struct check *k)
{
        jsOptions options;
        jsOptions_Init(&options);
        options.Wait = ANSWER_MS;
        judge_version(k);
        if (natsConnection_JetStream(&k->js, k->nc, &options) != NATS_OK) {
                return -ENOMEM;
        }
        if (!has_jetstream(k)) {
                return NATS_DOWN;
        }
        look_at_stream(k);
        judge_files(k);
        return k->found.odd ? NATS_ODD : 0;
}

static int connect_once(struct check *k, char *note, size_t size)
{
        natsOptions *options CLEANUP(options_destroy)
        = NULL;
        int r = settings_login(k->s, &options, note, size);
        if (r != 0) {
                return r;
        }
        natsOptions_SetTimeout(options, LIMIT_MS / k->s->n_servers);
        natsOptions_SetAllowReconnect(options, false);
        natsStatus status = natsConnection_Connect(&k->nc, options);
        if (status != NATS_OK) {
                login_reason(k->s, status, note, size);
                return NATS_DOWN;
        }
        return 0;
}

int nats_check(const struct nats_options *o, char *note, size_t note_size)
{
        struct settings s;
        struct check k = {.s = &s, .found = {note, note_size, false}};
        int r = settings_init(&s, o, note, note_size);
        r = r == 0 ? connect_once(&k, note, note_size) : r;
        if (r == 0) {
                *note = '\0';
                r = look(&k);
        }
        jsCtx_Destroy(k.js);
        natsConnection_Destroy(k.nc);
        settings_deinit(&s);
        return r;
}
