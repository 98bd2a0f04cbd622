package android.os;

import baton.stubs.Phone;

public class UserManager {
    public boolean isUserUnlocked() {
        Phone.needs(24, "isUserUnlocked");
        return Phone.unlocked;
    }
}
