package android.security;

/** Public since level 33. */
public class KeyStoreException extends Exception {
    private final boolean passing;

    /** On a phone, only the system makes one. */
    public KeyStoreException(String message, boolean passing) {
        super(message);
        this.passing = passing;
    }

    public boolean isTransientFailure() {
        baton.stubs.Phone.needs(33, "isTransientFailure");
        return passing;
    }
}
