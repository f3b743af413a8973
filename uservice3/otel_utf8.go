package main

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// This file replaces text that is not UTF-8, which the SDK lets pass: one such byte in a header or
// an environment variable would lose a whole batch. Mending requests as they come in would not do,
// because a query has to travel on as it is. A reader may skip it.

func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

func notUTF8(err error) bool { return err != nil && strings.Contains(err.Error(), "invalid UTF-8") }

// mendSpans, an interceptor of gRPC, sends a request again that has such text, once it is mended.
func mendSpans(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, request, reply, conn, options...)
	if notUTF8(err) {
		mend(request.(proto.Message).ProtoReflect())
		err = invoke(ctx, method, request, reply, conn, options...)
	}
	return err
}

// mend replaces all such text in a message of protobuf, in place.
func mend(message protoreflect.Message) {
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsList() && field.Message() != nil:
			for i := range value.List().Len() {
				mend(value.List().Get(i).Message())
			}
		case field.Message() != nil:
			mend(value.Message())
		case field.Kind() == protoreflect.StringKind && !field.IsList():
			message.Set(field, protoreflect.ValueOfString(valid(value.String())))
		}
		return true
	})
}

// mendRecords does the same for log lines, which leave over HTTP.
func mendRecords(send func(context.Context, []sdklog.Record) error) func(context.Context, []sdklog.Record) error {
	return func(ctx context.Context, records []sdklog.Record) error {
		err := send(ctx, records)
		if notUTF8(err) {
			for i := range records {
				records[i] = validRecord(records[i])
			}
			err = send(ctx, records)
		}
		return err
	}
}

func validRecord(record sdklog.Record) sdklog.Record {
	mended := record.Clone()
	mended.SetBody(validValue(record.Body()))
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
