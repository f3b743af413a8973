package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
)

const (
	// clockSlack is how far apart two processes on one machine may stamp the same moment.
	clockSlack = 5 * time.Millisecond
	// openFor is how long a request counts as open when nothing tells its end: as long as the
	// services' own client waits for an answer.
	openFor = 10 * time.Second
)

// signs are what a sender and a receiver have in common, if the one called the other, the surest first:
// the receiver's span, which the answer named; the context that left and arrived; and the sender's trace,
// where it does not log what it sends.
type signs [3][]string

// sign sets what a record has in common with others.
func (r *Record) sign() {
	if r.response != nil {
		r.sent[0] = carried([]header.Header{*r.response})
	}
	if r.left == nil && r.TraceID != "" {
		r.sent[2] = []string{fmt.Sprint(r.gateway, r.TraceID)}
	}
	r.sent[1], r.received[1] = carried(r.left), carried(r.arrived)
	r.received[0] = []string{r.TraceID + r.SpanID}
	for _, h := range r.arrived {
		if h.TraceID != "" {
			r.received[2] = append(r.received[2], fmt.Sprint(r.forwarded, h.TraceID))
		}
	}
}

// carried are the contexts among headers, and the values that should be one.
func carried(headers []header.Header) (keys []string) {
	for _, h := range headers {
		if h.TraceID != "" {
			keys = append(keys, h.TraceID+h.SpanID)
		} else if h.Problem != "" {
			keys = append(keys, h.Name+": "+h.Value)
		}
	}
	return keys
}

// tie ties the records of one request, and returns those with which requests begin, by time. It takes
// as long as there are records, however many of them have ids in common.
func tie(records []*Record) (starts []*Record) {
	all := slices.Clone(records)
	slices.SortStableFunc(all, func(x, y *Record) int { return x.Time.Compare(y.Time) })
	for _, r := range all {
		r.next, r.tied, r.until = nil, false, r.end
		if r.end.IsZero() {
			r.until = r.Time.Add(cmp.Or(max(r.Duration, 0), openFor))
		}
	}
	for i := range len(signs{}) {
		tieBy(i, all)
	}
	return slices.DeleteFunc(all, func(r *Record) bool { return r.tied })
}

// tieBy ties each record, in the order of time, to who sent it, where that can be one sender alone.
func tieBy(i int, all []*Record) {
	type key struct{ shared, callee string }
	waiting := map[key][]*Record{} // senders
	next := 0
	for _, r := range all {
		for ; next < len(all) && !all[next].Time.After(r.Time.Add(clockSlack)); next++ {
			for _, shared := range all[next].sent[i] {
				k := key{shared, all[next].Service}
				waiting[k] = append(waiting[k], all[next])
			}
		}
		if r.gateway || r.tied {
			continue
		}
		var senders []*Record
		for _, shared := range r.received[i] {
			k := key{shared, r.Name}
			list := waiting[k]
			for at := 0; at < len(list) && len(senders) < 2; {
				if c := list[at]; c.next != nil || c.until.Add(clockSlack).Before(r.Time) {
					list[at] = list[len(list)-1] // for good: time only goes on
					list = list[:len(list)-1]
					continue
				} else if !slices.Contains(senders, c) {
					senders = append(senders, c)
				}
				at++
			}
			waiting[k] = list
		}
		if len(senders) == 1 {
			c := senders[0]
			c.next, r.tied = r, true
			if c.until.Before(r.until) {
				r.until = c.until
			}
		}
	}
}
