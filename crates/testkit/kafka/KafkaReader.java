import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.header.Header;

/** Reads a topic from its beginning as a consumer group, and writes each record as a line of hexadecimal fields. */
public class KafkaReader {
    public static void main(String[] arguments) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[0]);
        properties.put("group.id", "reader");
        properties.put("auto.offset.reset", "earliest");
        properties.put("metadata.max.age.ms", "500");
        properties.put("reconnect.backoff.max.ms", "200");
        String type = "org.apache.kafka.common.serialization.ByteArrayDeserializer";
        properties.put("key.deserializer", type);
        properties.put("value.deserializer", type);
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties)) {
            consumer.subscribe(List.of(arguments[1]));
            while (true) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    write(record);
                }
            }
        }
    }

    private static void write(ConsumerRecord<byte[], byte[]> record) {
        HexFormat hex = HexFormat.of();
        StringBuilder line = new StringBuilder();
        line.append(record.partition()).append(' ').append(hex.formatHex(record.key()));
        line.append(' ').append(hex.formatHex(record.value()));
        for (Header header : record.headers()) {
            line.append(' ').append(hex.formatHex(header.key().getBytes(StandardCharsets.UTF_8)));
            line.append('=').append(hex.formatHex(header.value()));
        }
        System.out.println(line);
        System.out.flush();
    }
}
