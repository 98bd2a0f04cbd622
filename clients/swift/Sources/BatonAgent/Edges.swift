// What the driver controls: the process, its storage and its transport.

import Baton
import Foundation

/// What the driver can change while the agent runs.
struct Settings: Sendable {
    var skew: TimeInterval = 0
    var scale: Double = 0
    var locked = false
    var full = false
    var crash: JSON?
    var asked = 0
}

final class Shared: @unchecked Sendable {
    private let lock = NSLock()
    private var settings = Settings()
    private var running: [Double: Task<Void, Never>] = [:]

    var set: Settings { lock.withLock { settings } }

    func change(_ work: (inout Settings) -> Void) { lock.withLock { work(&settings) } }
    func begin(_ id: Double, _ task: Task<Void, Never>) { lock.withLock { running[id] = task } }
    func cancel(_ id: Double) { lock.withLock { running[id] }?.cancel() }

    /// End the process at the point that the driver has named, as if it was killed.
    func point(_ name: String, _ path: String? = nil) {
        guard let crash = set.crash, crash["at"]?.text == name else { return }
        if path == nil || ["", path].contains(crash["path"]?.text ?? "") { kill(getpid(), SIGKILL) }
    }

    func say(_ members: JSON) {
        lock.withLock { FileHandle.standardOutput.write(((try? members.written()) ?? Data()) + Data("\n".utf8)) }
    }
}

let shared = Shared()

/// The storage, which crashes, throws or is full on request.
struct AgentStorage: Storage {
    let files: FileStorage

    func read() throws -> DeviceRecord {
        if shared.set.locked { throw InvalidInput("locked") }
        return try files.read()
    }

    func update(_ change: (DeviceRecord) -> DeviceRecord) throws -> DeviceRecord {
        if shared.set.locked || shared.set.full { throw InvalidInput("full") }
        let before = try files.read()
        let moves = change(before).session?.accessToken != before.session?.accessToken
        if moves { shared.point("before_store") }
        let after = try files.update(change)
        if moves { shared.point("after_store") }
        return after
    }

    /// Put a member into an object of the record.
    func put(_ outer: String, _ name: String, _ value: JSON) throws {
        _ = try files.update { edited($0) { $0[outer] = .object(($0[outer]?.members ?? [:]).merging([name: value]) { $1 }) } }
    }
}

/// Change the members of a record. What is no record then, for example without a session, is not changed.
func edited(_ record: DeviceRecord, _ work: (inout [String: JSON]) -> Void) -> DeviceRecord {
    guard var all = try? JSON.parse(writeRecord(record)).members else { return record }
    work(&all)
    return (try? readRecord(JSON.object(all).written())) ?? record
}

struct AgentTransport: Transport {
    let wire = FoundationTransport()

    func send(_ request: Request, limits: Limits) async throws -> RawAnswer {
        let bare = request.url.components(separatedBy: "?")[0]
        let path = bare.range(of: "/api").map { String(bare[$0.upperBound...]) } ?? ""
        shared.point("before_send", path)
        let answer = try await wire.send(request, limits: limits)
        shared.point("after_answer", path)
        return answer
    }
}
