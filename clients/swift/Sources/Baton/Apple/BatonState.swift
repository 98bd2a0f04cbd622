// The state for SwiftUI. This file has been parsed, but never compiled for a phone.

#if canImport(Combine) && canImport(CryptoKit) && canImport(Security)
    import Combine
    import Foundation

    /// The state of a client on the main actor, for a view.
    @MainActor
    public final class BatonState: ObservableObject {
        /// Nil until the storage has been read.
        @Published public private(set) var state: State?
        private var watching: Task<Void, Never>?

        public init(_ baton: Baton) {
            watching = Task { [weak self] in
                for await state in baton.states { self?.state = state }
            }
        }

        deinit { watching?.cancel() }
    }

    extension Baton {
        /// Make a client of an app: the record in the Keychain, the key in the Secure Enclave. `folder` is the container of the
        /// app, or of the group that it shares with its extensions, together with `accessGroup`.
        public static func device(
            baseURL: String, clientId: String, folder: URL, accessGroup: String? = nil, options: Options = Options()
        ) throws -> Baton {
            if options.binding == .hmac { throw InvalidInput("On a phone a login is bound to a key: leave `binding` out.") }
            let items = DeviceKeychain(clientId: clientId, accessGroup: accessGroup)
            let storage = KeychainStorage(items: items, probe: FileProbe(folder: folder), clock: options.clock)
            return try Baton(baseURL: baseURL, clientId: clientId, storage: storage, keys: EnclaveKeys(enclave: DeviceEnclave()), options: options)
        }
    }
#endif
