// The record in numbered items of the Keychain. There is no lock: iOS ends a suspended app that holds one.
//
// A write adds item n+1, which fails if the item exists: then another process was faster, and the change is applied to the
// record of that process. A reader takes the highest number.

import Foundation

/// What this storage needs of the Keychain. A Keychain that cannot be used now throws.
public protocol KeychainItems: Sendable {
    func names() throws -> [String]
    func read(_ name: String) throws -> Data?
    /// False: there is such an item already.
    func add(_ name: String, _ bytes: Data) throws -> Bool
    func delete(_ name: String) throws
}

/// A file of the app. It shows whether the device was unlocked: before, the Keychain looks empty. It also shows whether the
/// app was installed again, because the Keychain keeps its items then.
public protocol InstallationProbe: Sendable {
    /// True: the file is there. False: it is not. It throws if it cannot be read now.
    func isThere() throws -> Bool
    func make() throws
}

public struct KeychainStorage: Storage {
    private let items: any KeychainItems
    private let probe: any InstallationProbe
    private let clock: @Sendable () -> TimeInterval
    private static let listings = 50

    public init(items: any KeychainItems, probe: any InstallationProbe, clock: @escaping @Sendable () -> TimeInterval = { Date().timeIntervalSince1970 }) {
        (self.items, self.probe, self.clock) = (items, probe, clock)
    }

    public func read() throws -> DeviceRecord {
        try settle()
        return try newest().record
    }

    public func update(_ change: (DeviceRecord) -> DeviceRecord) throws -> DeviceRecord {
        try settle()
        return try replace(change)
    }

    /// After a new installation, revoke the login that the Keychain has kept. No person has logged in to this installation.
    private func settle() throws {
        if try probe.isThere() { return }
        let survivor = try newest().record.session
        let at = clock().rounded(.down)
        if survivor != nil {
            _ = try replace { now in
                guard same(now.session, survivor) else { return now } // Another process has logged in meanwhile.
                var left = revoked(now, "logout", at: at)
                left.ended = nil
                return left
            }
        }
        try probe.make() // The last step: after an earlier end of the process, all steps are done again.
    }

    private func replace(_ change: (DeviceRecord) -> DeviceRecord) throws -> DeviceRecord {
        while true {
            let (number, record) = try newest()
            let after = change(record)
            if after == record { return record }
            let name = Self.name(number + 1)
            guard try items.add(name, try writeRecord(after)) else { continue }
            let numbers = try items.names().compactMap(Self.number)
            if numbers.max() != number + 1 {
                // Faster processes have made and deleted this number before: this item is below a newer one.
                try items.delete(name)
                continue
            }
            for old in numbers where old <= number { try items.delete(Self.name(old)) }
            return after
        }
    }

    private func newest() throws -> (number: Int, record: DeviceRecord) {
        for _ in 0..<Self.listings {
            guard let number = try items.names().compactMap(Self.number).max() else { return (0, DeviceRecord()) }
            if let bytes = try items.read(Self.name(number)) { return (number, try readRecord(bytes)) } // Otherwise, another process has deleted it.
        }
        throw BatonError.brokenStorage("The record is missing. Nothing was changed.")
    }

    private static func name(_ number: Int) -> String {
        let digits = String(number)
        return "record." + String(repeating: "0", count: max(0, 12 - digits.count)) + digits
    }

    private static func number(_ name: String) -> Int? { name.hasPrefix("record.") ? Int(name.dropFirst(7)) : nil }
}
