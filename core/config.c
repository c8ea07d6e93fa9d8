/* The table of keys. */
#include "core/config.h"
