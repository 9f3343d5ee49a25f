// The kernel's floor: what one container costs when nothing but the kernel's work is done.
//
// Each round makes an upper and a work directory, clones a process into new mount, pid, network, ipc, uts and cgroup
// namespaces (and a user namespace when the caller is not root), which mounts an overlay, changes its root, detaches the old
// one and executes the program; the round ends when the program was waited for. No /proc, no /dev, no limits, no
// filter, no log: an engine cannot be faster than this. With --plain a round is fork, exec and wait.
//
// Prints the microseconds of each round, one a line.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const uint64_t NAMESPACES =
    CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

struct options {
    const char *rootfs;
    const char *work;
    char **argv;
    uint64_t namespaces;
    long rounds;
    int plain;
};

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    _exit(120);
}

static double microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        die(path);
    if (write(fd, text, strlen(text)) < 0)
        die(path);
    close(fd);
}

static void map_ids(unsigned uid, unsigned gid)
{
    char text[64];
    write_file("/proc/self/setgroups", "deny");
    snprintf(text, sizeof text, "0 %u 1", uid);
    write_file("/proc/self/uid_map", text);
    snprintf(text, sizeof text, "0 %u 1", gid);
    write_file("/proc/self/gid_map", text);
}

static void enter(const struct options *options, long round, unsigned uid, unsigned gid)
{
    char mount_options[8192];
    char merged[4096];
    if (options->namespaces & CLONE_NEWUSER)
        map_ids(uid, gid);
    if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        die("mount private");
    snprintf(merged, sizeof merged, "%s/merged", options->work);
    snprintf(mount_options, sizeof mount_options, "lowerdir=%s,upperdir=%s/upper-%ld,workdir=%s/work-%ld%s",
             options->rootfs, options->work, round, options->work, round,
             options->namespaces & CLONE_NEWUSER ? ",userxattr" : "");
    if (mount("overlay", merged, "overlay", 0, mount_options) != 0)
        die("mount overlay");
    if (chdir(merged) != 0)
        die("chdir");
    if (syscall(SYS_pivot_root, ".", ".") != 0)
        die("pivot_root");
    if (umount2(".", MNT_DETACH) != 0)
        die("umount of the old root");
    if (chdir("/") != 0)
        die("chdir");
    execve(options->argv[0], options->argv, (char *[]){NULL});
    die(options->argv[0]);
}

static void wait_for(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            die("waitpid");
    if (status != 0) {
        fprintf(stderr, "floor: the program ended with status 0x%x\n", (unsigned)status);
        _exit(121);
    }
}

static void plain_round(const struct options *options)
{
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        execve(options->argv[0], options->argv, (char *[]){NULL});
        die(options->argv[0]);
    }
    wait_for(pid);
}

static void container_round(const struct options *options, long round)
{
    char upper[4096], work[4096];
    unsigned uid = getuid(), gid = getgid();
    snprintf(upper, sizeof upper, "%s/upper-%ld", options->work, round);
    snprintf(work, sizeof work, "%s/work-%ld", options->work, round);
    if (mkdir(upper, 0755) != 0 || mkdir(work, 0755) != 0)
        die("mkdir");
    struct clone_args args;
    memset(&args, 0, sizeof args);
    args.flags = options->namespaces;
    args.exit_signal = SIGCHLD;
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0)
        die("clone3");
    if (pid == 0)
        enter(options, round, uid, gid);
    wait_for(pid);
}

static void clean_round(const struct options *options, long round)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/work-%ld/work", options->work, round);
    rmdir(path);
    snprintf(path, sizeof path, "%s/work-%ld", options->work, round);
    rmdir(path);
    snprintf(path, sizeof path, "%s/upper-%ld", options->work, round);
    rmdir(path);
}

static void usage(void)
{
    fputs("usage: floor [--rounds N] [--warm-up N] [--plain | --rootfs DIR --work DIR [--host-network]] PROGRAM [ARG...]\n",
          stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"rounds", required_argument, NULL, 'n'},       {"warm-up", required_argument, NULL, 'u'},
        {"rootfs", required_argument, NULL, 'r'},       {"work", required_argument, NULL, 'w'},
        {"plain", no_argument, NULL, 'p'},              {"host-network", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct options options = {.namespaces = NAMESPACES, .rounds = 20};
    long warm_up = 0;
    int option;
    while ((option = getopt_long(argc, argv, "+", long_options, NULL)) != -1) {
        switch (option) {
        case 'n': options.rounds = atol(optarg); break;
        case 'u': warm_up = atol(optarg); break;
        case 'r': options.rootfs = optarg; break;
        case 'w': options.work = optarg; break;
        case 'p': options.plain = 1; break;
        case 'h': options.namespaces &= ~(uint64_t)CLONE_NEWNET; break;
        default: usage();
        }
    }
    options.argv = argv + optind;
    if (options.argv[0] == NULL || options.rounds < 1 || (!options.plain && (!options.rootfs || !options.work)))
        usage();
    if (geteuid() != 0)
        options.namespaces |= CLONE_NEWUSER;
    if (!options.plain) {
        char merged[4096];
        snprintf(merged, sizeof merged, "%s/merged", options.work);
        if (mkdir(merged, 0755) != 0 && errno != EEXIST)
            die("mkdir");
    }
    for (long round = -warm_up; round < options.rounds; round++) {
        double begin = microseconds();
        if (options.plain)
            plain_round(&options);
        else
            container_round(&options, round);
        double end = microseconds();
        if (!options.plain)
            clean_round(&options, round);
        if (round >= 0)
            printf("%.1f\n", end - begin);
    }
    return 0;
}
