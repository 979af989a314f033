"""Names of programs that run what they are told, by how they do it."""

from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Their first operand is a file of code; without one, code comes on standard input.
INTERPRETERS: Final = _names("""
    sh bash dash ash zsh ksh mksh fish csh tcsh rbash python python2 python3 pypy pypy3 perl ruby
    node nodejs deno bun php lua luajit tclsh wish expect guile racket Rscript R julia groovy scala
    jshell pwsh osascript irb
""")
# Those of them whose code is what `reading` reads.
SHELLS: Final = _names("sh bash dash ash zsh ksh mksh rbash")
# They run, or let somebody run, whatever stands in their words, on their input or behind a key.
CARRIERS: Final = _names("""
    awk gawk mawk nawk sed ed ex vi vim nvim view nano emacs less more most man info pg busybox
    toybox xargs parallel watch script scriptreplay ssh scp sftp rsh telnet nc ncat netcat socat su
    runuser chroot unshare nsenter setpriv systemd-run systemd-nspawn machinectl at batch crontab
    gdb lldb strace ltrace perf tmux screen dtach make gmake cmake ninja rake ant mvn gradle docker
    podman nerdctl ctr kubectl oc helm lxc lxc-attach incus virsh ansible ansible-playbook terraform
    psql mysql mariadb sqlite3 mongosh redis-cli start-stop-daemon run-parts dpkg rpm apt apt-get
    pip pip3 npm npx yarn gem cargo go java mail mailx mutt ftp lftp m4 gnuplot bc openssl chrt
    taskset flock env-update doas
""")
# Some of their options run other programs, or write where they like.
OPTIONS: Final = _names("""
    git git-upload-pack git-receive-pack git-upload-archive git-shell hg svn tar bsdtar cpio zip
    unzip rsync sort split curl wget find fd rg tcpdump nmap
""")
# The shell's own; they change what is read after them, or run text.
BUILTINS: Final = _names("""
    eval . source trap alias unalias enable hash export readonly declare typeset local set shopt
    read printf unset builtin let mapfile readarray bind complete compgen fc history umask ulimit
    coproc
""")
# Words that, unquoted, would not be read as a command's name (POSIX XCU 2.4, and bash's own).
RESERVED: Final = _names("""
    ! { } [[ ]] case coproc do done elif else esac fi for function if in select then time until
    while
""")
