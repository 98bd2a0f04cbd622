package android.content;

import java.io.File;

public abstract class Context {
    public static final String USER_SERVICE = "user";

    public abstract Context getApplicationContext();

    public abstract File getNoBackupFilesDir();

    public abstract Object getSystemService(String name);

    public abstract String getSystemServiceName(Class<?> serviceClass);

    @SuppressWarnings("unchecked")
    public final <T> T getSystemService(Class<T> serviceClass) {
        return (T) getSystemService(getSystemServiceName(serviceClass));
    }
}
