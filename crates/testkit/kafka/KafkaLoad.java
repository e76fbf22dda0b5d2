import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;

/**
 * Counts the records of a topic from its beginning, and writes their number and the sum of the sizes of their values as a line whenever some have come; or sends copies of a record and ends when all are
 * acknowledged.
 */
public class KafkaLoad {
    public static void main(String[] arguments) throws InterruptedException {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[1]);
        if (arguments[0].equals("count")) {
            count(properties, arguments[2]);
        } else {
            send(properties, arguments[2], Integer.parseInt(arguments[3]), Integer.parseInt(arguments[4]));
        }
    }

    /** The partitions of a topic, which the cluster makes when it is first asked for it: until then there are none. */
    private static List<TopicPartition> partitions(KafkaConsumer<byte[], byte[]> consumer, String topic) throws InterruptedException {
        while (true) {
            List<PartitionInfo> found = consumer.partitionsFor(topic);
            if (found != null && !found.isEmpty()) {
                return found.stream().map(partition -> new TopicPartition(topic, partition.partition())).toList();
            }
            Thread.sleep(100);
        }
    }

    private static void count(Properties properties, String topic) throws InterruptedException {
        String type = "org.apache.kafka.common.serialization.ByteArrayDeserializer";
        properties.put("key.deserializer", type);
        properties.put("value.deserializer", type);
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties)) {
            // Without a group: nothing but the records passes the broker.
            List<TopicPartition> partitions = partitions(consumer, topic);
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long records = 0;
            long bytes = 0;
            System.out.println("0 0");
            while (true) {
                ConsumerRecords<byte[], byte[]> polled = consumer.poll(Duration.ofSeconds(1));
                for (ConsumerRecord<byte[], byte[]> record : polled) {
                    records += 1;
                    bytes += record.value().length;
                }
                if (!polled.isEmpty()) {
                    System.out.println(records + " " + bytes);
                }
            }
        }
    }

    /** Sends with the defaults of the library: all replicas acknowledge, and a record is sent at most once again without changing the order. */
    private static void send(Properties properties, String topic, int records, int bytes) {
        String type = "org.apache.kafka.common.serialization.ByteArraySerializer";
        properties.put("key.serializer", type);
        properties.put("value.serializer", type);
        byte[] key = "http://localhost/cell/".getBytes(StandardCharsets.UTF_8);
        byte[] value = "x".repeat(bytes).getBytes(StandardCharsets.UTF_8);
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties)) {
            producer.partitionsFor(topic);
            for (int record = 0; record < records; record++) {
                producer.send(new ProducerRecord<>(topic, key, value));
            }
            producer.flush();
        }
    }
}
