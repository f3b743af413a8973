package stack

import (
	"fmt"
	"slices"
	"time"
)

const (
	// maxRestarts is how often in a row a service is started again that does not stay.
	maxRestarts = 5
	// stayed is how long a service must have run for its end to count as the first one again.
	stayed = 10 * time.Second
	// restartWait is before the second start in a row; each further one waits twice as long.
	restartWait = 200 * time.Millisecond
)

// watch waits for a service's end and tells of it, unless it was asked for. With Options.Restart it starts the service
// again; its successor is watched by a goroutine of its own.
func (s *Stack) watch(c *child) {
	<-c.done
	if c.expected.Load() {
		return
	}
	again := s.o.Restart && s.alive.Err() == nil
	s.died(Death{Part: c.name, How: c.obituary(), Again: again})
	if again {
		s.restart(c)
	}
}

// restart starts a service again that ended by itself, and tries so some times.
func (s *Stack) restart(dead *child) {
	restarts := dead.restarts
	if time.Since(dead.started) > stayed {
		restarts = 0
	}
	how := dead.obituary()
	for ; restarts < maxRestarts; restarts++ {
		if restarts > 0 {
			select {
			case <-time.After(restartWait << (restarts - 1)):
			case <-s.alive.Done():
				return
			}
		}
		err := s.replace(dead, restarts+1)
		if err == nil || s.alive.Err() != nil {
			return
		}
		how = err.Error()
		s.log.Warn("it does not start again", "service", dead.name, "error", how)
	}
	s.died(Death{Part: dead.name, How: fmt.Sprintf("%s; it has been started again %d times in a row and is left alone now", how, maxRestarts)})
}

// replace starts the successor of a dead child, unless somebody has done so already, to change a fault.
func (s *Stack) replace(dead *child, restarts int) error {
	if err := s.takeTurn(s.alive); err != nil {
		return err
	}
	defer s.giveTurn()
	if !s.children[dead.name].ended() {
		return nil
	}
	s.restarts[dead.name] = restarts
	i := slices.IndexFunc(s.o.Services, func(svc Service) bool { return svc.Name == dead.name })
	if err := s.startServices(s.alive, s.o.Services[i:i+1]); err != nil {
		if c := s.children[dead.name]; !c.ended() { // it runs and does not get ready
			c.expected.Store(true)
			kill(c.cmd.Process)
			<-c.done
		}
		return err
	}
	s.log.Warn("it runs again", "service", dead.name, "restarts", restarts)
	return nil
}
