package stack

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// goodbyeTime is for clients that ask one thing after the other to come once more, and to learn that it is the last time.
const goodbyeTime = 150 * time.Millisecond

// goodbye is the beginning of the gateway's end. http.Server.Shutdown closes each connection that carries no request at this
// moment, under the client that is just sending its next one: it gets no answer, and cannot know whether somebody works on
// it. So at first the door is closed alone, and whoever is inside is told with the answer that the connection ends with it.
// What is idle after that is nobody's who was in a hurry.
type goodbye struct {
	next http.Handler
	door net.Listener

	closeDoor sync.Once
	said      atomic.Bool
}

// say closes the door and gives those inside the time to hear of it.
func (g *goodbye) say(ctx context.Context) {
	g.said.Store(true)
	_ = g.listener().Close()
	select {
	case <-time.After(goodbyeTime):
	case <-ctx.Done():
	}
}

// listener is the door, for the server to close again if it likes.
func (g *goodbye) listener() net.Listener { return twiceClosed{g.door, g} }

type twiceClosed struct {
	net.Listener
	g *goodbye
}

func (l twiceClosed) Close() (err error) {
	l.g.closeDoor.Do(func() { err = l.Listener.Close() })
	return err
}

func (g *goodbye) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.next.ServeHTTP(&lastWord{w, g}, r)
}

// lastWord adds to an answer that it is the last one, if that is so when it begins.
type lastWord struct {
	http.ResponseWriter
	g *goodbye
}

func (w *lastWord) WriteHeader(status int) {
	if w.g.said.Load() && status >= 200 {
		w.Header().Set("Connection", "close")
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap serves http.ResponseController.
func (w *lastWord) Unwrap() http.ResponseWriter { return w.ResponseWriter }
