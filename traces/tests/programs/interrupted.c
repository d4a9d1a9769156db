/* A timer interrupts repeated string instructions and system calls. It exits with 0 when all of them nevertheless
   did what they should. */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int count;
static char to[1 << 20], from[1 << 20];

static void handle(int signal) {
    (void)signal;
    count++;
}

static void strings(void) {
    void *d = from;
    long n = 5000;
    __asm__ volatile("repe scasb" : "+D"(d), "+c"(n) : "a"(0) : "memory", "cc");
    if (n != 0) exit(1);
    for (int i = 0; i < 20; i++) {
        void *d = to, *s = from;
        long n = sizeof to;
        __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
        d = to + 1000;
        n = 300;
        __asm__ volatile("std; rep stosb; cld" : "+D"(d), "+c"(n) : "a"(1) : "memory");
        d = to;
        n = 512;
        __asm__ volatile("repe scasb" : "+D"(d), "+c"(n) : "a"(0) : "memory", "cc");
        if (n != 0 || to[1000] != 1 || to[701] != 1 || to[700] != 0) exit(1);
    }
}

/* A process that sleeps, writes a byte when it has where to, and ends. */
static void child(int microseconds, int to) {
    if (fork() != 0) return;
    signal(SIGALRM, SIG_IGN);
    usleep(microseconds);
    _exit(to >= 0 && write(to, "x", 1) != 1);
}

int main(void) {
    struct sigaction action = { 0 };
    struct itimerval timer = { { 0, 20000 }, { 0, 20000 } };
    int pipes[2];
    char byte;
    action.sa_handler = handle;
    action.sa_flags = SA_RESTART;
    if (sigaction(SIGALRM, &action, 0) || setitimer(ITIMER_REAL, &timer, 0) || pipe(pipes)) return 2;
    strings();
    child(50000, -1);
    child(200000, pipes[1]);
    /* Restarted after each signal, also after SIGCHLD of the first child, for which there is no handler. */
    if (read(pipes[0], &byte, 1) != 1 || byte != 'x') return 3;
    action.sa_flags = 0;
    if (sigaction(SIGALRM, &action, 0)) return 4;
    for (int i = 0; i < 3; i++)
        if (pause() != -1 || errno != EINTR) return 5;
    return count > 3 ? 0 : 6;
}
