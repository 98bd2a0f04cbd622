// The record in a folder of its own, shared by processes. For Linux and macOS: iOS ends a suspended app that holds a lock.

import Foundation

/// A write makes a second file, flushes it to the disk, and then replaces it. Writers wait for each other on a lock file, which the
/// system releases when a process ends. Readers need no lock.
public struct FileStorage: Storage {
    private let folder: String

    public init(folder: String) { self.folder = folder }

    public func read() throws -> DeviceRecord {
        guard let file = try opened(path("record.json"), O_RDONLY) else { return DeviceRecord() }
        defer { close(file) }
        var bytes = Data()
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = try checked { Foundation.read(file, &part, part.count) }
            if count == 0 { return try readRecord(bytes) }
            bytes.append(contentsOf: part[..<count])
        }
    }

    public func update(_ change: (DeviceRecord) -> DeviceRecord) throws -> DeviceRecord {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        // A lock belongs to this opening of the file: the threads of this process wait for each other too.
        guard let lock = try opened(path("lock"), O_RDWR | O_CREAT) else { throw POSIXError(.ENOENT) }
        defer { close(lock) }
        try checked { flock(lock, LOCK_EX) }
        let before = try read()
        let after = change(before)
        if after != before { try write(try writeRecord(after)) }
        return after
    }

    private func write(_ bytes: Data) throws {
        guard let file = try opened(path("record.new"), O_WRONLY | O_CREAT | O_TRUNC) else { throw POSIXError(.ENOENT) }
        defer { close(file) }
        var left = bytes[...]
        while !left.isEmpty {
            let count = try checked { left.withUnsafeBytes { Foundation.write(file, $0.baseAddress, $0.count) } }
            left = left.dropFirst(count)
        }
        try flush(file)
        try checked { rename(path("record.new"), path("record.json")) }
        guard let here = try opened(folder, O_RDONLY) else { throw POSIXError(.ENOENT) }
        defer { close(here) }
        try checked { fsync(here) } // The name is on the disk too.
    }

    private func path(_ name: String) -> String { "\(folder)/\(name)" }
}

/// Open a file of its owner alone. Nil: it does not exist.
private func opened(_ path: String, _ flags: Int32) throws -> Int32? {
    do {
        return try checked { open(path, flags | O_CLOEXEC, 0o600) }
    } catch let error as POSIXError where error.code == .ENOENT {
        return nil
    }
}

private func flush(_ file: Int32) throws {
    #if canImport(Darwin)
        if fcntl(file, F_FULLFSYNC) == 0 { return } // Only this empties the cache of the disk.
    #endif
    try checked { fsync(file) }
}

/// Call a function of the system, again after a signal. Throw its error.
@discardableResult
private func checked<Number: SignedInteger>(_ work: () -> Number) throws -> Number {
    while true {
        let result = work()
        if result >= 0 { return result }
        let code = errno
        if code != EINTR { throw POSIXError(POSIXErrorCode(rawValue: code) ?? .EIO) }
    }
}

extension Baton {
    /// Make a client: the record, with its key, in a folder that only its owner can read. Several processes may share it.
    public static func files(baseURL: String, clientId: String, folder: String, options: Options = Options()) throws -> Baton {
        try Baton(baseURL: baseURL, clientId: clientId, storage: FileStorage(folder: folder), keys: SoftwareKeys(), options: options)
    }
}
