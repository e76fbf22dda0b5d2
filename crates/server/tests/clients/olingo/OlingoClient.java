// What a program on Apache Olingo 2 does with an OData collection. Given: the service root, a token, and the media type of
// entities.
//
// The collection has the entity types Author (name) and Book (title, pages, price, printed), an Author has many Books.

import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Calendar;
import java.util.GregorianCalendar;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TimeZone;
import org.apache.olingo.odata2.api.client.batch.BatchChangeSet;
import org.apache.olingo.odata2.api.client.batch.BatchChangeSetPart;
import org.apache.olingo.odata2.api.client.batch.BatchPart;
import org.apache.olingo.odata2.api.client.batch.BatchQueryPart;
import org.apache.olingo.odata2.api.client.batch.BatchSingleResponse;
import org.apache.olingo.odata2.api.edm.Edm;
import org.apache.olingo.odata2.api.edm.EdmEntitySet;
import org.apache.olingo.odata2.api.edm.EdmEntityType;
import org.apache.olingo.odata2.api.ep.EntityProvider;
import org.apache.olingo.odata2.api.ep.EntityProviderReadProperties;
import org.apache.olingo.odata2.api.ep.EntityProviderWriteProperties;
import org.apache.olingo.odata2.api.ep.entry.ODataEntry;
import org.apache.olingo.odata2.api.ep.feed.ODataFeed;

public class OlingoClient {
    private static final String JSON = "application/json";

    private final HttpClient http = HttpClient.newHttpClient();
    private final String service;
    private final String token;
    private final String mediaType;
    private Edm edm;

    private OlingoClient(String service, String token, String mediaType) {
        this.service = service;
        this.token = token;
        this.mediaType = mediaType;
    }

    public static void main(String[] arguments) throws Exception {
        OlingoClient client = new OlingoClient(arguments[0], arguments[1], arguments[2]);
        client.readMetadata();
        client.changeEntities();
        client.query();
        client.sendBatch();
        System.out.println("{\"done\":true}");
    }

    private static void check(boolean holds, Object what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    private static InputStream stream(String text) {
        return new ByteArrayInputStream(text.getBytes(StandardCharsets.UTF_8));
    }

    private HttpResponse<String> send(String method, String path, String contentType, String accept, String body)
            throws Exception {
        HttpRequest.BodyPublisher publisher =
                body == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofString(body);
        HttpRequest request = HttpRequest.newBuilder(URI.create(service + path))
                .method(method, publisher)
                .header("Authorization", "Bearer " + token)
                .header("Accept", accept)
                .header("Content-Type", contentType)
                .header("DataServiceVersion", "2.0")
                .header("MaxDataServiceVersion", "2.0")
                .build();
        return http.send(request, HttpResponse.BodyHandlers.ofString());
    }

    private HttpResponse<String> expect(int status, String method, String path, String body) throws Exception {
        HttpResponse<String> response = send(method, path, JSON, mediaType, body);
        check(response.statusCode() == status, method + " " + path + ": " + response.statusCode() + " " + response.body());
        return response;
    }

    private EdmEntitySet set(String name) throws Exception {
        return edm.getDefaultEntityContainer().getEntitySet(name);
    }

    private String write(String set, Map<String, Object> data) throws Exception {
        EntityProviderWriteProperties properties = EntityProviderWriteProperties.serviceRoot(URI.create(service))
                .omitJsonWrapper(true)
                .contentOnly(true)
                .isDataBasedPropertySerialization(true)
                .build();
        Object entity = EntityProvider.writeEntry(JSON, set(set), data, properties).getEntity();
        return new String(((InputStream) entity).readAllBytes(), StandardCharsets.UTF_8);
    }

    private ODataEntry entry(String set, String type, String text) throws Exception {
        EntityProviderReadProperties properties = EntityProviderReadProperties.init().build();
        return EntityProvider.readEntry(type, set(set), stream(text), properties);
    }

    private Map<String, Object> entity(String set, String id) throws Exception {
        String text = expect(200, "GET", set + "('" + id + "')", null).body();
        return entry(set, mediaType, text).getProperties();
    }

    private ODataFeed feed(String set, String path) throws Exception {
        String text = expect(200, "GET", path, null).body();
        EntityProviderReadProperties properties = EntityProviderReadProperties.init().build();
        return EntityProvider.readFeed(mediaType, set(set), stream(text), properties);
    }

    private static List<Object> ids(ODataFeed feed) {
        List<Object> ids = new ArrayList<>();
        feed.getEntries().forEach(entry -> ids.add(entry.getProperties().get("__id")));
        return ids;
    }

    private void readMetadata() throws Exception {
        HttpResponse<String> response = send("GET", "$metadata", JSON, "application/xml", null);
        check(response.statusCode() == 200, response.body());
        edm = EntityProvider.readMetadata(stream(response.body()), true);
        EdmEntityType book = set("Book").getEntityType();
        check(book.getKeyPropertyNames().equals(List.of("__id")), book.getKeyPropertyNames());
        check(book.getPropertyNames().containsAll(List.of("title", "pages", "price", "printed")), book.getPropertyNames());
        check(book.getProperty("pages").getType().getName().equals("Int32"), "pages");
        List<String> navigation = set("Author").getEntityType().getNavigationPropertyNames();
        check(navigation.equals(List.of("_Book")), navigation);
        System.out.println("metadata");
    }

    private static Map<String, Object> book(String id, int pages) {
        Calendar printed = new GregorianCalendar(TimeZone.getTimeZone("UTC"));
        printed.setTimeInMillis(1577934245000L);
        Map<String, Object> book = new HashMap<>();
        book.put("__id", id);
        book.put("title", "Book " + pages);
        book.put("pages", pages);
        book.put("price", pages / 2.0);
        book.put("printed", printed);
        return book;
    }

    private void changeEntities() throws Exception {
        expect(201, "POST", "Author", write("Author", new HashMap<>(Map.of("__id", "ann", "name", "Ann"))));
        for (int number = 1; number <= 5; number++) {
            String body = write("Book", book("b" + number, number));
            expect(201, "POST", "Author('ann')/_Book", body);
        }
        Map<String, Object> one = entity("Book", "b1");
        check(one.get("title").equals("Book 1") && one.get("pages").equals(1), one);
        check(one.get("price").equals(0.5), one);
        check(((Calendar) one.get("printed")).getTimeInMillis() == 1577934245000L, one);
        for (String method : List.of("MERGE", "PATCH")) {
            expect(204, method, "Book('b1')", "{\"pages\":11}");
            one = entity("Book", "b1");
            check(one.get("title").equals("Book 1") && one.get("pages").equals(11), one);
        }
        expect(204, "PUT", "Book('b1')", write("Book", book("b1", 21)));
        check(entity("Book", "b1").get("title").equals("Book 21"), entity("Book", "b1"));
        expect(204, "DELETE", "Book('b5')", null);
        HttpResponse<String> missing = expect(404, "GET", "Book('b5')", null);
        var error = EntityProvider.readErrorDocument(stream(missing.body()), mediaType);
        check(error.getErrorCode() != null && error.getMessage() != null, missing.body());
        System.out.println("entities");
    }

    private void query() throws Exception {
        ODataFeed found = feed("Book", "Book?$filter=pages%20gt%201&$orderby=pages%20desc&$skip=1&$top=2&$inlinecount=allpages");
        check(ids(found).equals(List.of("b4", "b3")), ids(found));
        check(found.getFeedMetadata().getInlineCount() == 4, found.getFeedMetadata().getInlineCount());
        // What a navigation property leads to is JSON, whatever the request accepts.
        String linked = expect(200, "GET", "Author('ann')/_Book?$orderby=__id", null).body();
        EntityProviderReadProperties properties = EntityProviderReadProperties.init().build();
        found = EntityProvider.readFeed(JSON, set("Book"), stream(linked), properties);
        check(ids(found).equals(List.of("b1", "b2", "b3", "b4")), ids(found));
        HttpResponse<String> count = send("GET", "Book/$count", JSON, "text/plain", null);
        check(count.statusCode() == 200 && count.body().equals("4"), count.body());
        System.out.println("queries");
    }

    private static BatchChangeSetPart change(String method, String uri, String body, String contentId) {
        Map<String, String> headers = new HashMap<>();
        headers.put("Content-Type", JSON);
        headers.put("Accept", JSON);
        var part = BatchChangeSetPart.method(method).uri(uri).headers(headers);
        if (body != null) {
            part = part.body(body);
        }
        return (contentId == null ? part : part.contentId(contentId)).build();
    }

    private static BatchPart read(String uri) {
        return BatchQueryPart.method("GET").uri(uri).headers(new HashMap<>(Map.of("Accept", JSON))).build();
    }

    private List<BatchSingleResponse> batch(BatchPart... parts) throws Exception {
        String boundary = "batch_olingo";
        InputStream body = EntityProvider.writeBatchRequest(List.of(parts), boundary);
        String text = new String(body.readAllBytes(), StandardCharsets.UTF_8);
        HttpResponse<String> response =
                send("POST", "$batch", "multipart/mixed; boundary=" + boundary, "multipart/mixed", text);
        check(response.statusCode() == 202, response.body());
        String contentType = response.headers().firstValue("Content-Type").orElseThrow();
        return EntityProvider.parseBatchResponse(stream(response.body()), contentType);
    }

    private static List<String> statuses(List<BatchSingleResponse> responses) {
        List<String> statuses = new ArrayList<>();
        responses.forEach(response -> statuses.add(response.getStatusCode()));
        return statuses;
    }

    private void sendBatch() throws Exception {
        BatchChangeSet changes = BatchChangeSet.newBuilder().build();
        changes.add(change("POST", "Author", write("Author", new HashMap<>(Map.of("__id", "bob", "name", "Bob"))), "1"));
        changes.add(change("POST", "$1/_Book", write("Book", book("b6", 6)), "2"));
        changes.add(change("MERGE", "Book('b1')", "{\"pages\":12}", null));
        changes.add(change("PUT", "Book('b2')", write("Book", book("b2", 22)), null));
        changes.add(change("DELETE", "Book('b3')", null, null));
        List<BatchSingleResponse> responses = batch(read("Book('b1')"), changes, read("Author('bob')/_Book"));
        check(statuses(responses).equals(List.of("200", "201", "201", "204", "204", "204", "200")), statuses(responses));
        check(responses.get(1).getContentId().equals("1"), responses.get(1).getContentId());
        Map<String, Object> created = entry("Book", JSON, responses.get(2).getBody()).getProperties();
        check(created.get("title").equals("Book 6"), created);
        EntityProviderReadProperties properties = EntityProviderReadProperties.init().build();
        ODataFeed linked = EntityProvider.readFeed(JSON, set("Book"), stream(responses.get(6).getBody()), properties);
        check(ids(linked).equals(List.of("b6")), ids(linked));
        check(ids(feed("Book", "Book?$orderby=__id")).equals(List.of("b1", "b2", "b4", "b6")), "after the batch");

        BatchChangeSet failing = BatchChangeSet.newBuilder().build();
        failing.add(change("POST", "Book", write("Book", book("b7", 7)), null));
        failing.add(change("POST", "Book", write("Book", book("b6", 6)), null));
        responses = batch(failing, read("Book('b1')"));
        check(statuses(responses).equals(List.of("409", "200")), statuses(responses));
        expect(404, "GET", "Book('b7')", null);
        System.out.println("batch");
    }
}
