// A server of Get and Set on grpc-go, to compare with: a map, no limits, no deadlines.
//
// It is built against the Go packages of Debian, without a module proxy:
// apt install golang-go golang-google-grpc-dev golang-goprotobuf-dev
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/golang/protobuf/proto"
	"google.golang.org/grpc"
)

// The messages as protoc-gen-go declares them, less the fields that the benchmark does not use.

type getRequest struct {
	Key string `protobuf:"bytes,1,opt,name=key,proto3"`
}

type entry struct {
	Value   []byte `protobuf:"bytes,1,opt,name=value,proto3"`
	Version uint64 `protobuf:"fixed64,2,opt,name=version,proto3"`
}

type getResponse struct {
	Entry *entry `protobuf:"bytes,1,opt,name=entry,proto3"`
}

type setRequest struct {
	Key   string `protobuf:"bytes,1,opt,name=key,proto3"`
	Value []byte `protobuf:"bytes,2,opt,name=value,proto3"`
}

type setResponse struct {
	Version uint64 `protobuf:"fixed64,1,opt,name=version,proto3"`
}

func (m *getRequest) Reset()          { *m = getRequest{} }
func (m *getRequest) String() string  { return proto.CompactTextString(m) }
func (*getRequest) ProtoMessage()     {}
func (m *entry) Reset()               { *m = entry{} }
func (m *entry) String() string       { return proto.CompactTextString(m) }
func (*entry) ProtoMessage()          {}
func (m *getResponse) Reset()         { *m = getResponse{} }
func (m *getResponse) String() string { return proto.CompactTextString(m) }
func (*getResponse) ProtoMessage()    {}
func (m *setRequest) Reset()          { *m = setRequest{} }
func (m *setRequest) String() string  { return proto.CompactTextString(m) }
func (*setRequest) ProtoMessage()     {}
func (m *setResponse) Reset()         { *m = setResponse{} }
func (m *setResponse) String() string { return proto.CompactTextString(m) }
func (*setResponse) ProtoMessage()    {}

type store struct {
	lock     sync.RWMutex
	stored   map[string]*entry
	versions uint64
}

func (s *store) get(request *getRequest) *getResponse {
	s.lock.RLock()
	defer s.lock.RUnlock()
	return &getResponse{Entry: s.stored[request.Key]}
}

func (s *store) set(request *setRequest) *setResponse {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.versions++
	s.stored[request.Key] = &entry{Value: request.Value, Version: s.versions}
	return &setResponse{Version: s.versions}
}

func getHandler(srv interface{}, _ context.Context, decode func(interface{}) error,
	_ grpc.UnaryServerInterceptor) (interface{}, error) {
	request := new(getRequest)
	if err := decode(request); err != nil {
		return nil, err
	}
	return srv.(*store).get(request), nil
}

func setHandler(srv interface{}, _ context.Context, decode func(interface{}) error,
	_ grpc.UnaryServerInterceptor) (interface{}, error) {
	request := new(setRequest)
	if err := decode(request); err != nil {
		return nil, err
	}
	return srv.(*store).set(request), nil
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "prism.v1.KeyValueService",
		HandlerType: (*interface{})(nil),
		Methods: []grpc.MethodDesc{
			{MethodName: "Get", Handler: getHandler},
			{MethodName: "Set", Handler: setHandler},
		},
	}, &store{stored: map[string]*entry{}})
	fmt.Fprintf(os.Stderr, "{\"message\": \"serving\", \"grpc_address\": %q}\n", listener.Addr())
	if err := server.Serve(listener); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
