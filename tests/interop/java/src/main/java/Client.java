import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.core.JsonValue;
import com.openai.core.http.StreamResponse;
import com.openai.errors.NotFoundException;
import com.openai.errors.UnauthorizedException;
import com.openai.helpers.ChatCompletionAccumulator;
import com.openai.models.FunctionDefinition;
import com.openai.models.FunctionParameters;
import com.openai.models.chat.completions.ChatCompletion;
import com.openai.models.chat.completions.ChatCompletionChunk;
import com.openai.models.chat.completions.ChatCompletionCreateParams;
import com.openai.models.chat.completions.ChatCompletionFunctionTool;
import com.openai.models.chat.completions.ChatCompletionToolChoiceOption;
import com.openai.models.embeddings.EmbeddingCreateParams;
import com.openai.models.responses.ResponseCreateParams;
import com.openai.models.responses.ResponseStreamEvent;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/** Asks with OpenAI's SDK for Java: Client URL KEY MODEL... Prints "NAME: ok", or what went wrong. */
public final class Client {
    private interface Test {
        void run() throws Exception;
    }

    private static OpenAIClient client;

    private static OpenAIClient connect(String url, String key) {
        return OpenAIOkHttpClient.builder().baseUrl(url).apiKey(key).maxRetries(0).timeout(Duration.ofSeconds(30)).build();
    }

    private static void expect(boolean holds, Object otherwise) {
        if (!holds) throw new AssertionError(String.valueOf(otherwise));
    }

    private static void report(String name, Test test) {
        String said = "ok";
        try {
            test.run();
        } catch (Throwable error) {
            said = error.toString().replaceAll("\\s+", " ");
        }
        System.out.println(name + ": " + said.substring(0, Math.min(said.length(), 250)));
    }

    private static ChatCompletionCreateParams.Builder ask(String model) {
        return ChatCompletionCreateParams.builder().model(model).addUserMessage("What is the weather in Paris?");
    }

    private static ChatCompletionCreateParams withTools(String model) {
        FunctionParameters parameters = FunctionParameters.builder()
            .putAdditionalProperty("type", JsonValue.from("object"))
            .putAdditionalProperty("properties", JsonValue.from(Map.of("city", Map.of("type", "string"))))
            .putAdditionalProperty("required", JsonValue.from(List.of("city")))
            .build();
        FunctionDefinition function = FunctionDefinition.builder().name("get_weather").parameters(parameters).build();
        return ask(model).addTool(ChatCompletionFunctionTool.builder().function(function).build())
            .toolChoice(ChatCompletionToolChoiceOption.Auto.REQUIRED).build();
    }

    private static ChatCompletion gathered(ChatCompletionCreateParams asked) {
        ChatCompletionAccumulator whole = ChatCompletionAccumulator.create();
        try (StreamResponse<ChatCompletionChunk> chunks = client.chat().completions().createStreaming(asked)) {
            chunks.stream().forEach(whole::accumulate);
        }
        return whole.chatCompletion();
    }

    private static void called(ChatCompletion answer) {
        expect(answer.choices().get(0).message().toolCalls().orElse(List.of()).size() == 1, answer);
    }

    private static void unknown(Class<? extends Exception> kind, Test test) throws Exception {
        try {
            test.run();
        } catch (Exception error) {
            expect(kind.isInstance(error), error);
            return;
        }
        throw new AssertionError("it was answered");
    }

    private static void perModel(String model) {
        report(model + " chat", () -> {
            ChatCompletion answer = client.chat().completions().create(ask(model).build());
            expect(!answer.choices().get(0).message().content().orElse("").isEmpty(), answer);
            expect(answer.usage().orElseThrow().completionTokens() > 0, answer);
        });
        report(model + " stream", () -> {
            ChatCompletion answer = gathered(ask(model).build());
            expect(!answer.choices().get(0).message().content().orElse("").isEmpty(), answer);
        });
        report(model + " left", () -> {
            try (StreamResponse<ChatCompletionChunk> chunks = client.chat().completions().createStreaming(ask(model).build())) {
                expect(chunks.stream().findFirst().isPresent(), "nothing came");
            }
        });
        report(model + " tools", () -> called(client.chat().completions().create(withTools(model))));
        report(model + " streamed tools", () -> called(gathered(withTools(model))));
        report(model + " responses", () -> {
            ResponseCreateParams asked = ResponseCreateParams.builder().model(model).input("hello").build();
            expect(!client.responses().create(asked).output().isEmpty(), "no output");
            try (StreamResponse<ResponseStreamEvent> events = client.responses().createStreaming(asked)) {
                expect(events.stream().anyMatch(ResponseStreamEvent::isCompleted), "never completed");
            }
        });
    }

    public static void main(String[] arguments) {
        client = connect(arguments[0], arguments[1]);
        report("models", () -> expect(client.models().list().data().size() >= arguments.length - 2, "too few"));
        report("embeddings", () -> {
            EmbeddingCreateParams asked =
                EmbeddingCreateParams.builder().model("embed").inputOfArrayOfStrings(List.of("one", "two")).build();
            expect(client.embeddings().create(asked).data().size() == 2, "not two vectors");
        });
        report("unknown model", () -> unknown(NotFoundException.class, () -> client.chat().completions().create(ask("none").build())));
        report("unknown key", () -> unknown(UnauthorizedException.class, () -> connect(arguments[0], "sk-wrong").models().list()));
        for (int at = 2; at < arguments.length; at++) perModel(arguments[at]);
        System.exit(0);
    }
}
