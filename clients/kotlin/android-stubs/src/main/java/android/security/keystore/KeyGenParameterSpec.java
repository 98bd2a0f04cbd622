package android.security.keystore;

import baton.stubs.Phone;
import java.security.spec.AlgorithmParameterSpec;

public final class KeyGenParameterSpec implements AlgorithmParameterSpec {
    private final Builder from;

    private KeyGenParameterSpec(Builder from) {
        this.from = from;
    }

    public String getKeystoreAlias() {
        return from.alias;
    }

    public int getPurposes() {
        return from.purposes;
    }

    public String[] getDigests() {
        return from.digests.clone();
    }

    public AlgorithmParameterSpec getAlgorithmParameterSpec() {
        return from.spec;
    }

    public boolean isUserAuthenticationRequired() {
        return from.authentication;
    }

    public boolean isStrongBoxBacked() {
        Phone.needs(28, "isStrongBoxBacked");
        return from.strongBox;
    }

    public static final class Builder {
        private final String alias;
        private final int purposes;
        private String[] digests = {};
        private AlgorithmParameterSpec spec;
        private boolean authentication;
        private boolean strongBox;

        public Builder(String keystoreAlias, int purposes) {
            this.alias = keystoreAlias;
            this.purposes = purposes;
        }

        public Builder setDigests(String... digests) {
            this.digests = digests.clone();
            return this;
        }

        public Builder setAlgorithmParameterSpec(AlgorithmParameterSpec spec) {
            this.spec = spec;
            return this;
        }

        public Builder setUserAuthenticationRequired(boolean required) {
            this.authentication = required;
            return this;
        }

        public Builder setIsStrongBoxBacked(boolean isStrongBoxBacked) {
            Phone.needs(28, "setIsStrongBoxBacked");
            this.strongBox = isStrongBoxBacked;
            return this;
        }

        public KeyGenParameterSpec build() {
            return new KeyGenParameterSpec(this);
        }
    }
}
