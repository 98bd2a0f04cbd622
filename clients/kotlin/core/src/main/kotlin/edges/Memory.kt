package baton.client

/** A record in memory, which is lost when the process ends. */
public class MemoryStorage(private var record: DeviceRecord = DeviceRecord()) : Storage {
    override fun read(): DeviceRecord = synchronized(this) { record }

    override fun update(change: (DeviceRecord) -> DeviceRecord): DeviceRecord = synchronized(this) { change(record).also { record = it } }

    override fun toString(): String = "MemoryStorage"
}
