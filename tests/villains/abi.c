/* Comes from the future. */
#include <skep/handler.h>

SKEP_EXPORT const struct skep_plugin skep_plugin = {
    .abi = SKEP_ABI + 41, .size = sizeof(struct skep_plugin), .name = "abi", .version = "1"};
