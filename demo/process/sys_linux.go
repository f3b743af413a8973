package process

import "syscall"

// If this process is killed, the system kills its children, because nobody else would: see thread.
func init() { childAttributes.Pdeathsig = syscall.SIGKILL }
