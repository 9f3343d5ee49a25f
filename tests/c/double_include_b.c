#include <coble/coble.h>

const char *other_version(void);

const char *other_version(void) { return coble_version(); }
