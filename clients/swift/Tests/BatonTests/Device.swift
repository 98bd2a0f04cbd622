import Foundation
import Testing

@testable import Baton

let name = "a phone"
let confirm: Confirm = { _ in Proof(password: password) }

/// A device of the tests: a client on a fake server, with a clock and pauses that the test controls.
struct Device: Sendable {
    let storage: any Storage
    let slept = Box<[TimeInterval]>([])
    let client: Baton

    init(
        _ server: FakeServer, _ storage: any Storage = MemoryStorage(), keys: any DeviceKeys = SoftwareKeys(), transport: (any Transport)? = nil,
        binding: Binding = .key, wrong: TimeInterval = 0, sleep: @escaping @Sendable () async throws -> Void = {}
    ) throws {
        self.storage = storage
        let slept = slept
        let options = Options(
            binding: binding, clock: { server.time + wrong },
            sleep: { seconds in
                slept.change { $0.append(seconds) }
                try await sleep()
            },
            random: { 0.5 }
        )
        client = try Baton(baseURL: address, clientId: "mobile", storage: storage, keys: keys, transport: transport ?? server, options: options)
    }

    @discardableResult
    func login() async throws -> Device {
        _ = try await client.login(email: ada, password: password, deviceName: name)
        return self
    }

    func step() async throws -> LoginStep {
        guard case .step(let step) = try await client.login(email: ada, password: password, deviceName: name) else { throw NotThis() }
        return step
    }

    var record: DeviceRecord { get throws { try storage.read() } }
}

struct NotThis: Error {}

/// A transport of one function.
struct Wire: Transport {
    let work: Fault

    func send(_ request: Request, limits: Limits) async throws -> RawAnswer { try await work(request) }
}

/// A storage of two functions.
struct Shelf: Storage {
    let reading: @Sendable () throws -> DeviceRecord
    let updating: @Sendable ((DeviceRecord) -> DeviceRecord) throws -> DeviceRecord

    func read() throws -> DeviceRecord { try reading() }

    func update(_ change: (DeviceRecord) -> DeviceRecord) throws -> DeviceRecord { try updating(change) }
}

/// A gate that a test opens.
final class Gate: Sendable {
    private let state = Box<(open: Bool, waiting: [CheckedContinuation<Void, Never>])>((false, []))

    func open() {
        let waiting = state.change { now in
            defer { now = (true, []) }
            return now.waiting
        }
        for one in waiting { one.resume() }
    }

    func wait() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.change { now in
                if !now.open { now.waiting.append(continuation) }
                return now.open
            }
            if isOpen { continuation.resume() }
        }
    }
}

/// Copy the record: a clone of the device, or its backup.
func copyOf(_ storage: any Storage) throws -> MemoryStorage { MemoryStorage(try storage.read()) }

/// Let the token expire.
func expire(_ storage: any Storage) throws {
    _ = try storage.update { now in
        var late = now
        late.session?.expiresAt = 0
        return late
    }
}

/// Return the error of some work.
func failure(_ work: () async throws -> Void) async throws -> BatonError {
    do {
        try await work()
    } catch let error as BatonError {
        return error
    }
    Issue.record("it returned")
    throw NotThis()
}

func kindOf(_ work: () async throws -> Void) async throws -> String { try await failure(work).kind }

func refusedOf(_ work: () async throws -> Void) async throws -> Refused {
    guard case .refused(let refused) = try await failure(work) else { throw NotThis() }
    return refused
}

func loggedOutOf(_ work: () async throws -> Void) async throws -> (reason: String?, confirmed: Bool) {
    guard case .loggedOut(let reason, let confirmed) = try await failure(work) else { throw NotThis() }
    return (reason, confirmed)
}
