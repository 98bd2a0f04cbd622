package android.security.keystore;

import java.security.ProviderException;

/** Since level 28. */
public class StrongBoxUnavailableException extends ProviderException {
    public StrongBoxUnavailableException() {}
}
