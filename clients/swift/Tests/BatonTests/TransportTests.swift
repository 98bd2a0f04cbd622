import Foundation
import Testing

@testable import Baton

/// A socket that answers each connection with the bytes of the test.
private final class Socket: Sendable {
    let port: UInt16
    let heads = Box<[[String]]>([])
    private let listening: Int32

    init(_ answer: @escaping @Sendable (_ path: String, _ connection: Int32) -> Void) {
        #if canImport(Darwin)
            let stream = SOCK_STREAM
        #else
            let stream = Int32(SOCK_STREAM.rawValue)
        #endif
        let file = socket(AF_INET, stream, 0)
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &place) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { any in
                _ = bind(file, any, length)
                _ = listen(file, 50)
                _ = getsockname(file, any, &length)
            }
        }
        port = UInt16(bigEndian: place.sin_port)
        listening = file
        let heads = heads
        Thread.detachNewThread {
            while true {
                let connection = accept(file, nil, nil)
                if connection < 0 { return }
                Thread.detachNewThread {
                    let head = Socket.head(connection)
                    heads.change { $0.append(head) }
                    answer(head.first?.components(separatedBy: " ").dropFirst().first ?? "", connection)
                    close(connection)
                }
            }
        }
    }

    private static func head(_ connection: Int32) -> [String] {
        var text = ""
        var byte: UInt8 = 0
        while !text.hasSuffix("\n\n"), recv(connection, &byte, 1, 0) == 1 { if byte != 13 { text.unicodeScalars.append(UnicodeScalar(byte)) } }
        let lines = text.components(separatedBy: "\n").filter { !$0.isEmpty }
        // If the socket is closed before the whole body is read, the system resets the connection, and the answer can be lost.
        let length = lines.first { $0.lowercased().hasPrefix("content-length:") }?.split(separator: ":").last
        var left = length.flatMap { Int($0.trimmingCharacters(in: .whitespaces)) } ?? 0
        var body = [UInt8](repeating: 0, count: 65_536)
        while left > 0 {
            let count = recv(connection, &body, min(left, body.count), 0)
            if count <= 0 { break }
            left -= count
        }
        return lines
    }

    func end() {
        shutdown(listening, Int32(SHUT_RDWR))
        close(listening)
    }
}

#if canImport(Darwin)
    private let noSignal: Int32 = 0
#else
    private let noSignal = Int32(MSG_NOSIGNAL)
#endif

@discardableResult
private func put(_ connection: Int32, _ bytes: Data) -> Bool {
    var left = bytes
    while !left.isEmpty {
        let count = left.withUnsafeBytes { send(connection, $0.baseAddress, $0.count, noSignal) }
        if count <= 0 { return false }
        left = left.dropFirst(count)
    }
    return true
}

private func head(_ connection: Int32, _ status: String, _ lines: String...) {
    put(connection, Data("HTTP/1.1 \(status)\r\n\(lines.map { "\($0)\r\n" }.joined())Connection: close\r\n\r\n".utf8))
}

/// The transport against a socket.
@Suite(.timeLimit(.minutes(1))) struct TransportTests {
    private let transport = FoundationTransport()

    private func send(
        _ server: Socket, _ path: String, timeout: TimeInterval = 20, method: String = "GET", body: Data? = nil, host: String = "127.0.0.1"
    ) async throws -> RawAnswer {
        let request = Request(method: method, url: "http://\(host):\(server.port)\(path)", headers: ["accept": "application/json"], body: body)
        return try await transport.send(request, limits: Limits(timeout: timeout, bytes: 1 << 20))
    }

    private func noAnswer(_ work: () async throws -> RawAnswer) async throws -> NoAnswer {
        do {
            _ = try await work()
        } catch let error as NoAnswer {
            return error
        }
        Issue.record("it returned")
        throw NotThis()
    }

    @Test func headersBytesNoRedirectNoCookiesEveryMethod() async throws {
        let server = Socket { path, connection in
            if path == "/away" { return head(connection, "307 Away", "Location: /arrived", "Content-Length: 0") }
            head(connection, "200 OK", "Set-Cookie: a=b", "Baton-Request-Id: 0123abcd-ef", "Twice: 1", "Twice: 2", "Content-Length: 2")
            put(connection, Data("é".utf8))
        }
        defer { server.end() }
        let answer = try await send(server, "/a%20b//c?q=%7E&e=")
        #expect(answer.status == 200 && answer.bytes == Data("é".utf8))
        #expect(answer.headers["baton-request-id"] == "0123abcd-ef")
        #expect(answer.headers["twice"] == "1, 2")
        #expect(try await send(server, "/away").status == 307)
        #expect(try await send(server, "/patch", method: "PATCH", body: Data(count: 300_000)).status == 200)
        #expect(server.heads.value.map { $0[0] } == ["GET /a%20b//c?q=%7E&e= HTTP/1.1", "GET /away HTTP/1.1", "PATCH /patch HTTP/1.1"])
        let lines = server.heads.value.joined().map { $0.lowercased() }
        #expect(!lines.contains { $0.hasPrefix("cookie") })
        #expect(lines.contains("accept: application/json"))
    }

    @Test func refusalsAndEmptyAnswersComeThroughAsTheyAre() async throws {
        let server = Socket { path, connection in
            switch path {
            case "/bearer": head(connection, "401 No", "WWW-Authenticate: Bearer error=\"invalid_token\"", "Content-Length: 2")
            case "/basic": head(connection, "401 No", "WWW-Authenticate: Basic realm=\"a\"", "Content-Length: 2")
            case "/plain": head(connection, "401 No", "Content-Length: 2")
            default: head(connection, "204 None")
            }
            if path != "/empty" { put(connection, Data("{}".utf8)) }
        }
        defer { server.end() }
        for (path, status) in ["/plain": 401, "/empty": 204, "/bearer": 401] {
            let answer = try await send(server, path, method: "DELETE")
            #expect(answer.status == status)
            #expect(answer.bytes == Data(status == 204 ? "".utf8 : "{}".utf8))
        }
        let foreign = try await noAnswer { try await send(server, "/basic", timeout: 50) }
        #expect(foreign.sent && foreign.message.contains("password"))
        #expect(server.heads.value.count == 4, "no request is repeated")
    }

    @Test func whatIsCertainlyNotSent() async throws {
        let server = Socket { _, _ in }
        server.end()
        #expect(try await !noAnswer { try await send(server, "/") }.sent)
        let nowhere = Request(method: "GET", url: "http://no-such-host.invalid/", headers: [:], body: nil)
        #expect(try await !noAnswer { try await transport.send(nowhere, limits: Limits(timeout: 5, bytes: 1)) }.sent)
    }

    @Test func aBodyThatDripsIsTooLongOrIsCut() async throws {
        let server = Socket { path, connection in
            switch path {
            case "/huge", "/most":
                let size = (1 << 20) + (path == "/huge" ? 1 : 0)
                head(connection, "200 OK", "Content-Length: \(size)")
                put(connection, Data(count: size))
            case "/cut":
                head(connection, "200 OK", "Content-Length: 10")
                put(connection, Data("half".utf8))
            case "/drip":
                head(connection, "200 OK", "Content-Length: 10000")
                for _ in 0..<200 where put(connection, Data("x".utf8)) { usleep(50_000) }
            default: break
            }
        }
        defer { server.end() }
        #expect(try await noAnswer { try await send(server, "/huge") }.message.contains("too long"))
        #expect(try await send(server, "/most").bytes.count == 1 << 20)
        for path in ["/cut", "/closed"] {
            #expect(try await noAnswer { try await send(server, path) }.sent)
            // Here `localhost` may be tried at ::1 first, which refuses. The request was sent all the same.
            #expect(try await noAnswer { try await send(server, path, host: "localhost") }.sent)
        }
        let late = try await noAnswer { try await send(server, "/drip", timeout: 0.3) }
        #expect(late.sent && late.message.contains("in time"))
    }

    @Test func aCallerThatCancelsClosesItsConnection() async throws {
        let (began, ended, closed) = (Gate(), Gate(), Box(false))
        let server = Socket { _, connection in
            began.open()
            var (byte, most): (UInt8, timeval) = (0, timeval(tv_sec: 10, tv_usec: 0))
            setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &most, socklen_t(MemoryLayout<timeval>.size))
            closed.value = recv(connection, &byte, 1, 0) == 0
            ended.open()
        }
        defer { server.end() }
        let caller = Task { try await send(server, "/", timeout: 60) }
        await began.wait()
        caller.cancel()
        await #expect(throws: CancellationError.self) { try await caller.value }
        await ended.wait()
        #expect(closed.value)
        let late = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await send(server, "/", timeout: 60)
        }
        await #expect(throws: CancellationError.self) { try await late.value }
    }

    @Test func aPostWhoseConnectionIsDroppedIsSentOnce() async throws {
        let server = Socket { _, _ in }
        defer { server.end() }
        #expect(try await noAnswer { try await send(server, "/", method: "POST", body: Data("x".utf8)) }.sent)
        try await Task.sleep(nanoseconds: 100_000_000)
        #expect(server.heads.value.count == 1)
    }
}
