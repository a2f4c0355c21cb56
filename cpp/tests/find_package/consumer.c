/* Links the installed library and meets one of its errors. */
#include <convlens.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    convlens_program* program = NULL;
    const int status = convlens_open_file("no such file.cvl", &program);
    printf("convlens %s, %s (%s), %d threads, OpenMP %d: %s\n", convlens_version(), convlens_isa(),
           convlens_isa_reason(), convlens_threads(), convlens_has_openmp(), convlens_message());
    return status == CONVLENS_IO && program == NULL && strstr(convlens_message(), "`path`") != NULL ? 0 : 1;
}
