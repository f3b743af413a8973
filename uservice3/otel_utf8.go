package main

import (
	"strings"

	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// This file replaces text that is not UTF-8, which the SDK lets pass: one such byte in a header or
// an environment variable would lose a whole batch. Mending requests as they come in would not do,
// because a query has to travel on as it is. A reader may skip it.

func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

func notUTF8(err error) bool { return err != nil && strings.Contains(err.Error(), "invalid UTF-8") }

func validSpan(span sdktrace.ReadOnlySpan) sdktrace.ReadOnlySpan {
	stub := tracetest.SpanStubFromReadOnlySpan(span) // the way to a copy that can be changed
	stub.Name, stub.Status.Description = valid(stub.Name), valid(stub.Status.Description)
	stub.Attributes = validText(stub.Attributes)
	for i, event := range stub.Events {
		stub.Events[i].Name, stub.Events[i].Attributes = valid(event.Name), validText(event.Attributes)
	}
	for i, link := range stub.Links {
		stub.Links[i].Attributes = validText(link.Attributes)
	}
	return stub.Snapshot()
}

func validRecord(record sdklog.Record) sdklog.Record {
	mended := record.Clone()
	mended.SetAttributes()
	record.WalkAttributes(func(kv attribute.KeyValue) bool {
		mended.AddAttributes(validText([]attribute.KeyValue{kv})...)
		return true
	})
	return mended
}

func validText(attributes []attribute.KeyValue) (mended []attribute.KeyValue) {
	for _, kv := range attributes {
		mended = append(mended, attribute.KeyValue{Key: attribute.Key(valid(string(kv.Key))), Value: validValue(kv.Value)})
	}
	return mended
}

func validValue(value attribute.Value) attribute.Value {
	switch value.Type() {
	case attribute.STRING:
		return attribute.StringValue(valid(value.AsString()))
	case attribute.STRINGSLICE:
		list := value.AsStringSlice()
		for i := range list {
			list[i] = valid(list[i])
		}
		return attribute.StringSliceValue(list)
	case attribute.SLICE:
		var list []attribute.Value
		for _, value := range value.AsSlice() {
			list = append(list, validValue(value))
		}
		return attribute.SliceValue(list...)
	case attribute.MAP: // the headers of a request in its log line
		return attribute.MapValue(validText(value.AsMap())...)
	}
	return value
}
