// Verifies a request that a rule of a cell has sent, with the JDK alone.
//
//     java VerifyRelay.java REQUEST_FILE URL CERTS_FILE CELL_URL
//
// The first file is the request as it arrived, the second the answer of {cell}__certs. Prints `valid` or the reason.

import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.RSAPublicKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

public class VerifyRelay {
    static final List<String> COVERED = List.of("@method", "@target-uri", "content-digest", "content-type");
    static final long MAX_AGE_SECS = 300;
    // Shared by all processes of a receiver, and kept for MAX_AGE_SECS.
    static final Set<String> SEEN_NONCES = ConcurrentHashMap.newKeySet();

    /** `headers` has names in lower case; `certs` is the answer of the cell, which a receiver fetches by HTTPS. */
    static void verify(String method, String url, Map<String, String> headers, byte[] body, String cellUrl, String certs)
            throws Exception {
        String digest = Base64.getEncoder().encodeToString(MessageDigest.getInstance("SHA-256").digest(body));
        check(("sha-256=:" + digest + ":").equals(headers.get("content-digest")), "the body has another digest");
        String parameters = find("(?:^|, *)personium=(\\([^)]*\\)(?:;[a-z]+=(?:\\d+|\"[^\"]*\"))*)", headers.get("signature-input"));
        String signature = find("(?:^|, *)personium=:([A-Za-z0-9+/=]+):", headers.get("signature"));
        List<String> names = new ArrayList<>();
        Matcher name = Pattern.compile("\"([^\"]*)\"").matcher(parameters.substring(0, parameters.indexOf(')')));
        while (name.find()) {
            names.add(name.group(1));
        }
        check(names.containsAll(COVERED), "the signature covers too little");
        long age = System.currentTimeMillis() / 1000 - Long.parseLong(find(";created=(\\d+)", parameters));
        check(Math.abs(age) <= MAX_AGE_SECS, "the signature is too old");
        check(parameters.contains(";tag=\"personium-relay\""), "a signature for another purpose");
        check(parameters.contains(";alg=\"rsa-v1_5-sha256\""), "another algorithm");
        String[] keyId = find(";keyid=\"([^\"]*)\"", parameters).split("#");
        check(keyId.length == 2 && keyId[0].equals(cellUrl + "__certs"), "the key of another cell");
        StringBuilder base = new StringBuilder();
        for (String part : names) {
            String value = part.equals("@method") ? method : part.equals("@target-uri") ? url : headers.get(part);
            base.append('"').append(part).append("\": ").append(value).append('\n');
        }
        base.append("\"@signature-params\": ").append(parameters);
        Signature verifier = Signature.getInstance("SHA256withRSA");
        verifier.initVerify(key(certs, keyId[1]));
        verifier.update(base.toString().getBytes(StandardCharsets.US_ASCII));
        check(verifier.verify(Base64.getDecoder().decode(signature)), "not signed by the cell");
        check(SEEN_NONCES.add(find(";nonce=\"([^\"]*)\"", parameters)), "the request was repeated");
    }

    /** The key with this id. A receiver uses its JSON library. */
    static PublicKey key(String certs, String kid) throws Exception {
        Matcher key = Pattern.compile("\\{[^{}]*\"kid\":\"" + Pattern.quote(kid) + "\"[^{}]*\\}").matcher(certs);
        check(key.find(), "the key of another cell");
        BigInteger n = number(find("\"n\":\"([^\"]*)\"", key.group()));
        BigInteger e = number(find("\"e\":\"([^\"]*)\"", key.group()));
        return KeyFactory.getInstance("RSA").generatePublic(new RSAPublicKeySpec(n, e));
    }

    static BigInteger number(String text) {
        return new BigInteger(1, Base64.getUrlDecoder().decode(text));
    }

    static String find(String pattern, String text) {
        Matcher found = Pattern.compile(pattern).matcher(text == null ? "" : text);
        check(found.find(), "no signature");
        return found.group(1);
    }

    static void check(boolean holds, String reason) {
        if (!holds) {
            throw new SecurityException(reason);
        }
    }

    public static void main(String[] given) throws Exception {
        String request = new String(Files.readAllBytes(Path.of(given[0])), StandardCharsets.ISO_8859_1);
        int end = request.indexOf("\r\n\r\n");
        String[] lines = request.substring(0, end).split("\r\n");
        Map<String, String> headers = new HashMap<>();
        for (int n = 1; n < lines.length; n++) {
            String[] header = lines[n].split(": ", 2);
            headers.put(header[0].toLowerCase(), header[1]);
        }
        byte[] body = request.substring(end + 4).getBytes(StandardCharsets.ISO_8859_1);
        try {
            verify(lines[0].split(" ")[0], given[1], headers, body, given[3], Files.readString(Path.of(given[2])));
            System.out.println("valid");
        } catch (SecurityException error) {
            System.out.println("refused: " + error.getMessage());
        }
    }
}
