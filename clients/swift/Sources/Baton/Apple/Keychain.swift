// The calls of the Keychain, and the probe file beside it. This file has been parsed, but never compiled for a phone.

#if canImport(Security)
    import Foundation
    import Security

    /// Items of one service, usable after the first unlock, only on this device. Give the access group that an extension shares.
    public struct DeviceKeychain: KeychainItems {
        private let service: String
        private let group: String?

        public init(clientId: String, accessGroup: String? = nil) { (service, group) = ("baton.\(clientId)", accessGroup) }

        private func query(_ more: [CFString: Any]) -> CFDictionary {
            var query: [CFString: Any] = [
                kSecClass: kSecClassGenericPassword, kSecAttrService: service, kSecAttrSynchronizable: false,
                kSecUseDataProtectionKeychain: true,
            ]
            if let group { query[kSecAttrAccessGroup] = group }
            return query.merging(more) { $1 } as CFDictionary
        }

        public func names() throws -> [String] {
            var found: CFTypeRef?
            let status = SecItemCopyMatching(query([kSecMatchLimit: kSecMatchLimitAll, kSecReturnAttributes: true]), &found)
            if status == errSecItemNotFound { return [] }
            try check(status)
            return (found as? [[CFString: Any]] ?? []).compactMap { $0[kSecAttrAccount] as? String }
        }

        public func read(_ name: String) throws -> Data? {
            var found: CFTypeRef?
            let status = SecItemCopyMatching(query([kSecAttrAccount: name, kSecReturnData: true]), &found)
            if status == errSecItemNotFound { return nil }
            try check(status)
            return found as? Data
        }

        public func add(_ name: String, _ bytes: Data) throws -> Bool {
            let more: [CFString: Any] = [
                kSecAttrAccount: name, kSecValueData: bytes, kSecAttrAccessible: kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly,
            ]
            let status = SecItemAdd(query(more), nil)
            if status == errSecDuplicateItem { return false }
            try check(status)
            return true
        }

        public func delete(_ name: String) throws {
            let status = SecItemDelete(query([kSecAttrAccount: name]))
            if status != errSecItemNotFound { try check(status) }
        }

        /// For example `errSecInteractionNotAllowed`: the device is locked. The client says `storageUnavailable`.
        private func check(_ status: OSStatus) throws {
            if status != errSecSuccess { throw NSError(domain: NSOSStatusErrorDomain, code: Int(status)) }
        }
    }

    /// A file of one byte in a folder that the app and its extensions share. It is in no backup.
    public struct FileProbe: InstallationProbe {
        private let url: URL

        public init(folder: URL) { url = folder.appendingPathComponent("baton.installed") }

        public func isThere() throws -> Bool {
            guard FileManager.default.fileExists(atPath: url.path) else { return false }
            _ = try Data(contentsOf: url) // It throws before the first unlock.
            return true
        }

        public func make() throws {
            #if os(iOS) || os(tvOS) || os(watchOS) || os(visionOS)
                try Data([1]).write(to: url, options: [.atomic, .completeFileProtectionUntilFirstUserAuthentication])
            #else
                try Data([1]).write(to: url, options: .atomic)
            #endif
            var kept = url
            var values = URLResourceValues()
            values.isExcludedFromBackup = true
            try kept.setResourceValues(values)
        }
    }
#endif
