import Foundation
import Testing

@testable import Baton

/// The storage of files, with processes beside it: copies of the agent, which only add revocations.
@Suite(.timeLimit(.minutes(1))) struct StorageTests {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("baton-\(UUID().uuidString)/record").path

    private func added(_ record: DeviceRecord) -> DeviceRecord {
        var later = record
        later.revocations.append(Revocation(token: "t", keyId: nil, secret: nil, since: Double(record.revocations.count), key: nil))
        return later
    }

    /// Start a process that adds revocations. The agent is in the folder of the tests.
    private func writer(_ times: Int) throws -> Process {
        let process = Process()
        process.executableURL = Bundle.main.executableURL?.deletingLastPathComponent().appendingPathComponent("BatonAgent")
        process.arguments = ["add", folder, "\(times)"]
        try process.run()
        return process
    }

    private func mode(_ name: String) throws -> Int {
        try FileManager.default.attributesOfItem(atPath: "\(folder)\(name)")[.posixPermissions] as? Int ?? 0
    }

    @Test func oneRecordOfItsOwnerAlone() throws {
        let storage = FileStorage(folder: folder)
        #expect(try storage.read() == DeviceRecord())
        for time in 0..<3 {
            _ = try storage.update { now in
                var later = now
                later.ended = Ended(reason: nil, at: Double(time))
                return later
            }
        }
        #expect(try FileStorage(folder: folder).read().ended?.at == 2)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == ["lock", "record.json"])
        let modes = try ["", "/record.json", "/lock"].map(mode)
        #expect(modes == [0o700, 0o600, 0o600])
    }

    @Test func processesAndThreadsLoseNoUpdate() async throws {
        let writers = try (0..<3).map { _ in try writer(30) }
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 { group.addTask { for _ in 0..<10 { #expect(throws: Never.self) { try FileStorage(folder: folder).update(added) } } } }
        }
        for writer in writers {
            writer.waitUntilExit()
            #expect(writer.terminationStatus == 0)
        }
        #expect(try FileStorage(folder: folder).read().revocations.count == 130)
    }

    @Test func aKilledWriterLeavesAWholeRecordAndNoLock() async throws {
        let storage = FileStorage(folder: folder)
        let killed = try writer(1_000_000)
        while try storage.read().revocations.count < 5 { try await Task.sleep(nanoseconds: 5_000_000) }
        kill(killed.processIdentifier, SIGKILL)
        killed.waitUntilExit()
        let before = try storage.read().revocations.count
        #expect(try storage.update(added).revocations.count == before + 1)
    }

    @Test func aBrokenRecordIsNotChangedAndAnUnreadableOneIsNotEmpty() throws {
        let storage = FileStorage(folder: folder)
        _ = try storage.update(added)
        let file = URL(fileURLWithPath: "\(folder)/record.json")
        for text in ["{", "{\"v\": 3}", ""] {
            try Data(text.utf8).write(to: file)
            #expect(throws: BatonError.self) { try storage.update(added) }
            #expect(try Data(contentsOf: file) == Data(text.utf8))
        }
        try FileManager.default.removeItem(at: file)
        try FileManager.default.createDirectory(at: file, withIntermediateDirectories: false)
        #expect(throws: POSIXError.self) { try storage.read() }
    }

    @Test func twoClientsOfOneFolderShareALogin() async throws {
        let server = FakeServer()
        let first = try await Device(server, FileStorage(folder: folder)).login().client
        let second = try Device(server, FileStorage(folder: folder)).client
        try expire(FileStorage(folder: folder))
        async let one = first.me()
        async let other = second.me()
        _ = try await (one, other)
        #expect(server.lineages[0].generation == 1)
        #expect(Set(server.sent("/oauth/token").map { $0.headers["idempotency-key"] }).count == 1)
    }
}
