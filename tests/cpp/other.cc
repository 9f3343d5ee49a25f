// The second file of the program, so that everything in the header is really inline.

#include <coble/coble.hh>

const char *other_version();

const char *other_version() { return coble::version().data(); }
