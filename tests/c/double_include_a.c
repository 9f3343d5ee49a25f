/* The header twice in one file, and in two files of one program: nothing may be defined twice. */

#include <coble/coble.h>
#include <coble/coble.h>

const char *other_version(void);

int main(void) { return coble_version() == other_version() ? 0 : 1; }
