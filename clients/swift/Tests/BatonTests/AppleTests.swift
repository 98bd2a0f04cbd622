import Foundation
import Testing

@testable import Baton

/// The logic of the Keychain's and the Secure Enclave's edges, over fakes. Their calls of the system were never run.
@Suite(.timeLimit(.minutes(1))) struct AppleTests {
    /// A Keychain in memory, which several processes use. `meanwhile` runs once, before an item is added.
    final class Items: KeychainItems, Sendable {
        let all = Box<[String: Data]>([:])
        let locked = Box(false)
        let meanwhile = Box<(@Sendable () throws -> Void)?>(nil)

        private func check() throws { if locked.value { throw NotThis() } }

        func names() throws -> [String] {
            try check()
            return all.value.keys.shuffled()
        }

        func read(_ name: String) throws -> Data? {
            try check()
            return all.value[name]
        }

        func add(_ name: String, _ bytes: Data) throws -> Bool {
            try check()
            let before = meanwhile.change { now in
                defer { now = nil }
                return now
            }
            try before?()
            return all.change { now in
                if now[name] != nil { return false }
                now[name] = bytes
                return true
            }
        }

        func delete(_ name: String) throws {
            try check()
            all.change { $0[name] = nil }
        }
    }

    final class Probe: InstallationProbe, Sendable {
        let there = Box(false)
        let locked = Box(false)

        func isThere() throws -> Bool {
            if locked.value { throw NotThis() }
            return there.value
        }

        func make() { there.value = true }
    }

    let items = Items()
    let probe = Probe()
    var storage: KeychainStorage { KeychainStorage(items: items, probe: probe, clock: { 1_800_000_000 }) }

    private func added(_ record: DeviceRecord) -> DeviceRecord {
        var later = record
        later.revocations.append(Revocation(token: "t", keyId: nil, secret: nil, since: Double(record.revocations.count), key: nil))
        return later
    }

    @Test func oneNumberedRecordIsLeft() throws {
        #expect(try storage.read() == DeviceRecord())
        for _ in 0..<12 { _ = try storage.update(added) }
        #expect(items.all.value.keys.sorted() == ["record.000000000012"])
        #expect(try storage.read().revocations.count == 12)
        _ = try storage.update { $0 }
        #expect(items.all.value.keys.sorted() == ["record.000000000012"], "no change, no write")
    }

    @Test func aFasterProcessWinsAndTheChangeIsAppliedToItsRecord() throws {
        _ = try storage.update(added)
        let sibling = storage
        items.meanwhile.value = { _ = try sibling.update(self.added) }
        #expect(try storage.update(added).revocations.count == 3)
        #expect(items.all.value.count == 1)
    }

    @Test func anItemThatIsMadeAgainBelowANewerOneDoesNotCount() throws {
        _ = try storage.update(added)
        let sibling = storage
        items.meanwhile.value = { for _ in 0..<3 { _ = try sibling.update(self.added) } } // The sibling deletes n+1 too.
        #expect(try storage.update(added).revocations.count == 5)
        #expect(items.all.value.keys.sorted() == ["record.000000000005"])
    }

    @Test func writersInParallelLoseNoUpdate() async throws {
        probe.make()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 { group.addTask { for _ in 0..<25 { #expect(throws: Never.self) { try storage.update(added) } } } }
        }
        #expect(try storage.read().revocations.count == 200)
        #expect(items.all.value.count == 1)
    }

    @Test func beforeTheFirstUnlockTheStorageIsUnavailableAndNotEmpty() async throws {
        let server = FakeServer()
        let device = try await Device(server, storage).login()
        let kept = items.all.value
        items.all.value = [:] // As the Keychain answers before the first unlock: no such item.
        probe.locked.value = true
        #expect(try await kindOf { _ = try await device.client.me() } == "storage_unavailable")
        (items.all.value, probe.locked.value) = (kept, false)
        items.locked.value = true // errSecInteractionNotAllowed.
        #expect(try await kindOf { _ = try await device.client.me() } == "storage_unavailable")
        items.locked.value = false
        _ = try await device.client.me()
    }

    @Test func aNewInstallationRevokesTheLoginThatTheKeychainKept() async throws {
        let server = FakeServer()
        try await Device(server, storage).login()
        probe.there.value = false // The app was deleted and installed again.
        let device = try Device(server, storage)
        #expect(try await device.client.state() == .signedOut(reason: nil, at: nil))
        #expect(try device.record.revocations.count == 1)
        try await device.login()
        #expect(server.lineages.map { $0.ended != nil } == [true, false])
        #expect(try device.record.revocations.isEmpty)
    }

    @Test func aLoginDuringTheFirstReadOfANewInstallationIsKept() async throws {
        let server = FakeServer()
        try await Device(server, storage).login()
        probe.there.value = false
        let other = storage
        items.meanwhile.value = { // An extension of the app has logged in.
            probe.make()
            _ = try other.update { now in
                var later = now
                later.session?.attempt = "attempt-of-another-one"
                return later
            }
        }
        #expect(try storage.read().session?.attempt == "attempt-of-another-one")
    }

    @Test func aMissingRecordIsBrokenNotEmpty() throws {
        struct Empty: KeychainItems {
            func names() -> [String] { ["record.000000000003"] }
            func read(_ name: String) -> Data? { nil }
            func add(_ name: String, _ bytes: Data) -> Bool { true }
            func delete(_ name: String) {}
        }
        probe.make()
        #expect(throws: BatonError.self) { try KeychainStorage(items: Empty(), probe: probe).read() }
    }

    /// An enclave whose sealed keys are software keys.
    final class Enclave: EnclaveCalls, Sendable {
        let available = Box(true)
        let gone = Box(false)

        var isAvailable: Bool { available.value }

        func create() throws -> Data { Data(try SoftwareKeys().create().data.utf8) }

        private func signer(_ data: Data) throws -> (any Signer)? {
            try SoftwareKeys().open(StoredKey(store: "pkcs8", data: String(decoding: data, as: UTF8.self), jwk: nil))
        }

        func publicKey(_ data: Data) throws -> Data? {
            if gone.value { return nil }
            return try signer(data).map { try unbase64($0.jwk.x) + unbase64($0.jwk.y ?? "") }
        }

        func sign(_ data: Data, _ message: Data) throws -> Data { try signer(data)?.sign(message) ?? Data() }
    }

    @Test func aKeyOfTheEnclaveSignsAndSurvivesAReuse() async throws {
        let server = FakeServer()
        let enclave = Enclave()
        let device = try await Device(server, storage, keys: EnclaveKeys(enclave: enclave)).login()
        let key = try #require(try device.record.key)
        #expect(key.store == "enclave")
        _ = try await device.client.me()
        #expect(withoutSession(try device.record, "reuse", at: 0).key == key, "no copy can have it")
        enclave.gone.value = true
        #expect(try await loggedOutOf { _ = try await device.client.me() }.reason == "key_lost")
    }

    @Test func withoutAnEnclaveTheKeyIsSoftware() async throws {
        let server = FakeServer()
        let enclave = Enclave()
        enclave.available.value = false
        let keys = EnclaveKeys(enclave: enclave)
        let device = try await Device(server, storage, keys: keys).login()
        let key = try #require(try device.record.key)
        #expect(key.store == "pkcs8")
        _ = try await device.client.me()
        keys.remove(key)
        #expect(try keys.open(StoredKey(store: "enclave", data: "AAAA", jwk: nil)) == nil, "a record of another device")
    }

    /// Linux cannot compile these sources, so they are only parsed.
    @Test func theSourcesForAppleAndTheSampleAreSwift() throws {
        let sources = try FileManager.default.subpathsOfDirectory(atPath: package.path).filter {
            $0.hasPrefix("Sources/Baton/Apple/") || $0.hasPrefix("Samples/")
        }.filter { $0.hasSuffix(".swift") }
        #expect(sources.count == 4)
        for source in sources {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = ["swiftc", "-frontend", "-parse", package.appendingPathComponent(source).path]
            try process.run()
            process.waitUntilExit()
            #expect(process.terminationStatus == 0, "\(source)")
        }
    }
}
