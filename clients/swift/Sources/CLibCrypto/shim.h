// libcrypto for Swift, which imports neither function-like macros nor C functions with `...`.

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

static inline EVP_PKEY *baton_p256(void) { return EVP_EC_gen("P-256"); }
