package main

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// This file replaces text that is not UTF-8, which the SDK lets pass: one such byte in a header or
// an environment variable would lose a whole batch. Mending requests as they come in would not do,
// because a query has to travel on as it is. A reader may skip it.

func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// mend mends all text of a message of protobuf, such as a batch of spans with its resource.
func mend(message any) {
	protorange.Range(message.(proto.Message).ProtoReflect(), func(path protopath.Values) error {
		last := path.Index(-1)
		if text, ok := last.Value.Interface().(string); ok && last.Step.Kind() == protopath.FieldAccessStep {
			path.Index(-2).Value.Message().Set(last.Step.FieldDescriptor(), protoreflect.ValueOfString(valid(text)))
		}
		return nil
	})
}

// mendedLines mends log lines on their way to a processor: their exporter has no place for mend.
type mendedLines struct{ sdklog.Processor }

func (p mendedLines) OnEmit(ctx context.Context, record *sdklog.Record) error {
	before := record.Clone()
	record.SetAttributes()
	before.WalkAttributes(func(kv attribute.KeyValue) bool {
		record.AddAttributes(mended([]attribute.KeyValue{kv})...)
		return true
	})
	return p.Processor.OnEmit(ctx, record)
}

// mended mends what a resource or a log line has: text, lists of text, and groups, such as headers.
func mended(attributes []attribute.KeyValue) (all []attribute.KeyValue) {
	for _, kv := range attributes {
		switch kv.Value.Type() {
		case attribute.STRING:
			kv.Value = attribute.StringValue(valid(kv.Value.AsString()))
		case attribute.STRINGSLICE:
			list := kv.Value.AsStringSlice()
			for i := range list {
				list[i] = valid(list[i])
			}
			kv.Value = attribute.StringSliceValue(list)
		case attribute.MAP:
			kv.Value = attribute.MapValue(mended(kv.Value.AsMap())...)
		}
		all = append(all, attribute.KeyValue{Key: attribute.Key(valid(string(kv.Key))), Value: kv.Value})
	}
	return all
}
