import Foundation

/// A record in memory, which is lost when the process ends.
public final class MemoryStorage: Storage, Masked {
    private let record: Box<DeviceRecord>

    public init(_ record: DeviceRecord = DeviceRecord()) { self.record = Box(record) }

    public func read() -> DeviceRecord { record.value }

    public func update(_ change: (DeviceRecord) -> DeviceRecord) -> DeviceRecord {
        record.change { now in
            now = change(now)
            return now
        }
    }

    public var description: String { "MemoryStorage" }
}
